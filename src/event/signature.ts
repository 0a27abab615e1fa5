import { createHmac, timingSafeEqual } from "node:crypto";
import type { HmacConfig } from "../catalog/webhook.ts";

/** The signed request; header names are in lower case. */
interface Request {
  headers: Readonly<Record<string, string>>;
  body: Uint8Array;
}

/** A request whose signature is valid, with the id by which a repetition of it is known (null for none), or why it is refused. */
export type SignatureCheck = { id: string | null; error?: undefined } | { error: string };

/** What a sender's scheme puts into its headers. */
interface Signed {
  /** What precedes the body in the signed text. */
  before: string;
  given: readonly Buffer[];
  /** Seconds since 1970; null for a scheme without. */
  time: number | null;
  /** Null: none but the signature itself, which covers the time. */
  id: string | null;
}

/** The farthest that a signed time may be from this server's. */
const toleranceSeconds = 300;
const wrong = { error: "the signature is missing or wrong" };

/**
 * Checks the signature, in constant time, and that the request is not an old one that is sent again: schemes that sign a time refuse one
 * more than five minutes away, and every scheme that has an id must have sent it. `now` is in milliseconds.
 */
export function checkSignature(
  request: Request,
  { config, secret, idHeader }: { config: HmacConfig; secret: string; idHeader: string | null },
  now = Date.now(),
): SignatureCheck {
  const { scheme, algorithm } = config;
  const signed = readSigned(request, config, idHeader);
  if (!signed) return wrong;
  const key = scheme === "standard_webhooks" ? Buffer.from(secret.replace(/^whsec_/, ""), "base64") : secret;
  const expected = createHmac(algorithm, key).update(signed.before).update(request.body).digest();
  if (!signed.given.some((each) => each.length === expected.length && timingSafeEqual(each, expected))) return wrong;
  if (signed.time !== null) {
    if (Math.abs(now / 1000 - signed.time) <= toleranceSeconds) return { id: signed.id ?? expected.toString("hex") };
    return { error: `the signed time is more than ${toleranceSeconds} seconds away from this server's` };
  }
  if (idHeader !== null && signed.id === null) {
    return { error: `the header ${idHeader} is missing, by which a delivery that is sent again is known` };
  }
  return { id: signed.id };
}

const hex = (text: string) => Buffer.from(text, "hex");
const seconds = (text: string | undefined) => (text !== undefined && /^\d{1,12}$/.test(text) ? Number(text) : null);

function readSigned({ headers }: Request, config: HmacConfig, idHeader: string | null): Signed | null {
  switch (config.scheme) {
    case "github":
    case "body": {
      const given = headers[config.header];
      if (!given?.startsWith(config.prefix)) return null;
      const id = idHeader === null ? null : headers[idHeader] || null;
      return { before: "", given: [hex(given.slice(config.prefix.length))], time: null, id };
    }
    case "slack": {
      const given = headers["x-slack-signature"];
      const time = seconds(headers["x-slack-request-timestamp"]);
      if (!given?.startsWith("v0=") || time === null) return null;
      return { before: `v0:${headers["x-slack-request-timestamp"]}:`, given: [hex(given.slice(3))], time, id: null };
    }
    case "stripe": {
      const parts = (headers["stripe-signature"] ?? "").split(",").map((part) => part.trim().split("=", 2));
      const valuesOf = (name: string) => parts.flatMap(([key, value]) => (key === name ? [value ?? ""] : []));
      const [written] = valuesOf("t");
      const time = seconds(written);
      return time === null ? null : { before: `${written}.`, given: valuesOf("v1").map(hex), time, id: null };
    }
    case "standard_webhooks": {
      const { "webhook-id": id, "webhook-timestamp": written, "webhook-signature": signatures = "" } = headers;
      const time = seconds(written);
      if (!id || time === null) return null;
      const given = signatures.split(" ").flatMap((each) => (each.startsWith("v1,") ? [each.slice(3)] : []));
      return { before: `${id}.${written}.`, given: given.map((each) => Buffer.from(each, "base64")), time, id };
    }
    default:
      throw new Error(config.scheme satisfies never);
  }
}
