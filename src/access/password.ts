import { argon2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { z } from "zod";

/** OWASP's minimum for argon2id: 19 MiB, two passes, one lane. Tens of milliseconds, on a thread of the pool. */
const cost = { memory: 19_456, passes: 2, parallelism: 1 } as const;
const saltBytes = 16;
const hashBytes = 32;

/** The minimum length resists guessing without rules about characters; the maximum keeps hashing cheap. */
export const passwordText = z
  .string()
  .min(12, "must be at least 12 characters long")
  .max(200, "must be at most 200 characters long");

const derive = promisify(argon2);

/** Normalized, so that a password does not depend on how the keyboard composes characters. */
const bytesOf = (password: string) => Buffer.from(password.normalize("NFKC"), "utf8");
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64").replaceAll("=", "");

/** Returns the password's hash with a new salt, as a PHC string: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes);
  const hash = await derive("argon2id", { ...cost, message: bytesOf(password), nonce: salt, tagLength: hashBytes });
  return `$argon2id$v=19$m=${cost.memory},t=${cost.passes},p=${cost.parallelism}$${base64(salt)}$${base64(hash)}`;
}

const phc = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

/** Returns whether the password has the stored hash. Without a hash it returns false after the same time. */
export async function verifyPassword(password: string, stored: string | null): Promise<boolean> {
  if (stored === null) {
    await hashPassword(password);
    return false;
  }
  const [, memory, passes, parallelism, salt = "", hash = ""] = phc.exec(stored) ?? [];
  if (memory === undefined) throw new Error("a stored password is not an argon2id hash");
  const expected = Buffer.from(hash, "base64");
  const actual = await derive("argon2id", {
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(parallelism),
    message: bytesOf(password),
    nonce: Buffer.from(salt, "base64"),
    tagLength: expected.length,
  });
  return timingSafeEqual(actual, expected);
}
