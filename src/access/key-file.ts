import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StartError } from "../errors.ts";

/**
 * Returns the encryption key in the data directory of an embedded database; generates it (mode 0600) if there is none. The caller
 * must hold the directory's lock, so that only one process generates a key. Throws StartError when the file holds something else.
 */
export function readKeyFile(dataDir: string): Uint8Array {
  const file = join(dataDir, "encryption.key");
  if (!existsSync(file)) writeFileSync(file, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600 });
  chmodSync(file, 0o600);
  const digits = readFileSync(file, "utf8").trim();
  if (!/^[0-9a-fA-F]{64}$/.test(digits)) {
    throw new StartError(
      `${file} does not hold 64 hexadecimal digits: restore the file that the secrets were stored with, or delete it and store them again.`,
    );
  }
  return Buffer.from(digits, "hex");
}
