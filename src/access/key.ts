import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import type { Engine, Tx } from "../db/engine.ts";

/** Encrypts and decrypts keys' values with one key of 32 bytes. */
export interface Keyring {
  /** The first 16 hex digits of the key's sha-256: stored beside what it encrypted. */
  id: string;
  seal(plaintext: string): string;
  /** Throws when the envelope was sealed with another key, or was changed. */
  open(envelope: string): string;
}

/** An engine that can read and write secrets. */
export interface KeyedEngine extends Engine {
  keyring: Keyring;
}

/** AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits; the envelope is `v1:<key id>:<nonce>:<tag>:<ciphertext>`. */
export function createKeyring(key: Uint8Array): Keyring {
  const id = createHash("sha256").update(key).digest("hex").slice(0, 16);
  return {
    id,
    seal: (plaintext) => {
      const nonce = randomBytes(12);
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      const ciphertext = Buffer.concat([cipher.update(plaintext, "utf8"), cipher.final()]);
      return ["v1", id, ...[nonce, cipher.getAuthTag(), ciphertext].map((part) => part.toString("base64"))].join(":");
    },
    open: (envelope) => {
      const [version, keyId, nonce, tag, ciphertext] = envelope.split(":");
      if (version !== "v1" || nonce === undefined || tag === undefined || ciphertext === undefined) {
        throw new Error("not an encrypted value");
      }
      if (keyId !== id) throw new Error(`encrypted with the key ${keyId}; this process has the key ${id}`);
      const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64"));
      decipher.setAuthTag(Buffer.from(tag, "base64"));
      return Buffer.concat([decipher.update(Buffer.from(ciphertext, "base64")), decipher.final()]).toString("utf8");
    },
  };
}

/** Stores a secret of a pack, encrypted, in place of one of the same name; answers its ref, which is no secret. */
export async function storePackSecret(
  tx: Tx,
  keyring: Keyring,
  secret: { pack: string; packRef: string; name: string; value: string },
): Promise<string> {
  await tx.db.execute(
    sql`insert into attune.key (ref, owner_type, owner, owner_pack, name, encrypted, encryption_key_hash, value)
      values ('', 'pack', '', ${secret.pack}::bigint, ${secret.name}, true, ${keyring.id}, ${keyring.seal(secret.value)})
      on conflict (owner_type, owner, name) do update
        set value = excluded.value, encryption_key_hash = excluded.encryption_key_hash, encrypted = true`,
  );
  return `pack.${secret.packRef}.${secret.name}`;
}
