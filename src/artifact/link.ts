import { createHmac, timingSafeEqual } from "node:crypto";
import { ForbiddenError } from "../errors.ts";
import type { Keyring } from "../secrecy/keyring.ts";

/** A permission to read one version, or to send one content, that speaks for itself. */
export interface Link {
  /** A version's id to read it; an artifact's to send a content to. */
  id: bigint;
  /** The token of the session that asked for it: when that is over, so is the link. 0 where authentication is off. */
  token: bigint;
  /** When it stops working, in milliseconds since 1970. */
  expires: number;
  /** What may be sent; null for reading. */
  upload: Upload | null;
}

interface Upload {
  size: number;
  sha256: string;
  contentType: string;
  /** What makes it work once. */
  once: string;
}

const validMs = 15 * 60_000;
const purpose = "attune artifact links";

/** When a link that is made now stops working. */
export const expiryOf = (now: number) => now + validMs;

/** The path by which the link's request is made: GET to read, PUT to send. Signed with HMAC-SHA256 under a key of its own. */
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

/** Reads a signed path back. Throws ForbiddenError when it was not made here, was altered, or has expired. */
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
    throw new ForbiddenError("The link is not one of this server's: ask for a new one.");
  }
  if (link.expires <= now) throw new ForbiddenError("The link has expired: ask for a new one.");
  return link;
}

/** Over all that the link says; the method is part of it, so that none can stand for the other. */
function signature(keyring: Keyring, { id, token, expires, upload }: Link): string {
  const said = upload
    ? ["PUT", id, token, expires, upload.size, upload.sha256, upload.contentType, upload.once]
    : ["GET", id, token, expires];
  return createHmac("sha256", keyring.derive(purpose))
    .update(JSON.stringify(said.map(String)))
    .digest("base64url");
}
