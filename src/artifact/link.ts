import { createHmac, timingSafeEqual } from "node:crypto";
import { ForbiddenError } from "../errors.ts";
import type { Keyring } from "../secrecy/keyring.ts";

/** The content of a signed link, which permits reading one version or uploading one content. */
export interface Link {
  /** The id of the version to read, or of the artifact to upload to. */
  id: bigint;
  /** The token of the session that created the link, which ends with the session. 0 without authentication. */
  token: bigint;
  /** When it expires, in milliseconds since 1970. */
  expires: number;
  /** The content that may be uploaded; null for reading. */
  upload: Upload | null;
}

interface Upload {
  size: number;
  sha256: string;
  contentType: string;
  /** A random id, with which the link works once. */
  once: string;
}

const validMs = 15 * 60_000;
const purpose = "attune artifact links";

/** Returns when a link that is created at `now` expires. */
export const expiryOf = (now: number) => now + validMs;

/** Returns the signed path of the link: GET to read, PUT to upload. It is signed with HMAC-SHA256 and a separate key. */
export function signedPath(keyring: Keyring, link: Link): string {
  const query = new URLSearchParams({ token: String(link.token), expires: String(link.expires) });
  const { upload } = link;
  if (upload) {
    query.set("size", String(upload.size));
    query.set("sha256", upload.sha256);
    query.set("type", upload.contentType);
    query.set("once", upload.once);
  }
  query.set("signature", signature(keyring, link));
  return `/artifacts/${upload ? "upload/" : ""}${link.id}?${query}`;
}

/** Returns the link of a signed path. Throws ForbiddenError when its signature is invalid or it has expired. */
export function readLink(keyring: Keyring, target: URL, now: number): Link {
  const [, upload, id = ""] = /^\/artifacts\/(upload\/)?([1-9]\d{0,17})$/.exec(target.pathname) ?? [];
  const text = (name: string) => target.searchParams.get(name) ?? "";
  const digits = (name: string) => (/^(0|[1-9]\d{0,14})$/.test(text(name)) ? text(name) : "0");
  const link: Link = {
    id: BigInt(id || "0"),
    token: BigInt(digits("token")),
    expires: Number(digits("expires")),
    upload: upload
      ? { size: Number(digits("size")), sha256: text("sha256"), contentType: text("type"), once: text("once") }
      : null,
  };
  const expected = Buffer.from(signature(keyring, link));
  const given = Buffer.from(text("signature"));
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new ForbiddenError("The link has no valid signature: request a new one.");
  }
  if (link.expires <= now) throw new ForbiddenError("The link has expired: request a new one.");
  return link;
}

/** Signs all properties of the link, and its method, so that a link works for one method only. */
function signature(keyring: Keyring, { id, token, expires, upload }: Link): string {
  const signed = upload
    ? ["PUT", id, token, expires, upload.size, upload.sha256, upload.contentType, upload.once]
    : ["GET", id, token, expires];
  return createHmac("sha256", keyring.derive(purpose))
    .update(JSON.stringify(signed.map(String)))
    .digest("base64url");
}
