import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from "node:crypto";

/** Encrypts with one key of 32 bytes, and decrypts what it or an older key encrypted. */
export interface Keyring {
  /** The first 16 hex digits of the current key's sha-256: stored beside what it encrypted. */
  id: string;
  /** The ids of all its keys, the current one first. */
  ids: readonly string[];
  seal(plaintext: string): string;
  /** Throws when the envelope was sealed with a key that it lacks, or was changed. */
  open(envelope: string): string;
  /** Another key of 32 bytes, for that purpose alone: the same in every process that has this key. */
  derive(purpose: string): Uint8Array;
}

/**
 * AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits; the envelope is `v1:<key id>:<nonce>:<tag>:<ciphertext>`. What
 * the `older` keys sealed can be opened, too.
 */
export function createKeyring(key: Uint8Array, older: readonly Uint8Array[] = []): Keyring {
  const keys = new Map([key, ...older].map((each) => [idOf(each), each]));
  const id = idOf(key);
  const ids = [...keys.keys()];
  return {
    id,
    ids,
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
      const sealedWith = keys.get(keyId ?? "");
      if (!sealedWith) throw new Error(`encrypted with the key ${keyId}; this process has ${ids.join(" and ")}`);
      // A shorter tag would be taken for a whole one.
      const decipher = createDecipheriv("aes-256-gcm", sealedWith, Buffer.from(nonce, "base64"), { authTagLength: 16 });
      decipher.setAuthTag(Buffer.from(tag, "base64"));
      return Buffer.concat([decipher.update(Buffer.from(ciphertext, "base64")), decipher.final()]).toString("utf8");
    },
    derive: (purpose) => new Uint8Array(hkdfSync("sha256", key, "", purpose, 32)), // RFC 5869
  };
}

const idOf = (key: Uint8Array) => createHash("sha256").update(key).digest("hex").slice(0, 16);
