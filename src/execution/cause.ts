import { createHmac, timingSafeEqual } from "node:crypto";
import type { Keyring } from "../secrecy/keyring.ts";

/** The header in which a request to a webhook says which execution sent it. */
export const causeHeader = "attune-cause";

const purpose = "cause of a webhook's event";
const macOf = (key: Uint8Array, execution: string) => createHmac("sha256", key).update(execution).digest();

/** Returns the header's value for an execution: its id, signed, so that no sender can name one that it does not run in. */
export function signCause(keyring: Keyring, execution: string): string {
  return `v1.${execution}.${macOf(keyring.derive(purpose), execution).toString("base64url")}`;
}

/**
 * Returns the id of the execution that the header names; null without one, and for one that a stranger has signed. During a rotation of the encryption
 * key a process may still sign with the former one, so each key of the keyring counts.
 */
export function readCause(keyring: Keyring, header: string | undefined): string | null {
  const [, execution, mac = ""] = /^v1\.([1-9]\d{0,18})\.([\w-]{43})$/.exec(header ?? "") ?? [];
  if (execution === undefined || BigInt(execution) > 2n ** 63n - 1n) return null;
  const given = Buffer.from(mac, "base64url");
  const isOwn = keyring.deriveAll(purpose).some((key) => timingSafeEqual(given, macOf(key, execution)));
  return isOwn ? execution : null;
}
