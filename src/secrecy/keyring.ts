import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from "node:crypto";

/** Encrypts with one key of 32 bytes, and decrypts values of this and older keys. */
export interface Keyring {
  /** The first 16 hex digits of the current key's sha-256, stored with the values that it encrypts. */
  id: string;
  /** The ids of all keys, the current one first. */
  ids: readonly string[];
  seal(plaintext: string): string;
  /** Throws when the envelope was sealed with an unknown key or was changed. */
  open(envelope: string): string;
  /** Derives a key of 32 bytes for one purpose, which is one of few: the same in every process with this key. */
  derive(purpose: string): Uint8Array;
  /** Derives a key for the purpose from each of the keys, the current one first. */
  deriveAll(purpose: string): readonly Uint8Array[];
}

/**
 * Returns a keyring that uses AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits; the envelope is
 * `v1:<key id>:<nonce>:<tag>:<ciphertext>`. It also opens envelopes of the `older` keys.
 */
export function createKeyring(key: Uint8Array, older: readonly Uint8Array[] = []): Keyring {
  const keys = new Map([key, ...older].map((each) => [idOf(each), each]));
  const id = idOf(key);
  const ids = [...keys.keys()];
  const known = new Map<string, readonly [Uint8Array, ...Uint8Array[]]>();
  const deriveAll = (purpose: string) => {
    const [, ...others] = keys.values();
    const found = known.get(purpose) ?? [derived(key, purpose), ...others.map((each) => derived(each, purpose))];
    known.set(purpose, found);
    return found;
  };
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
      // Without the length, a shorter tag would be accepted.
      const decipher = createDecipheriv("aes-256-gcm", sealedWith, Buffer.from(nonce, "base64"), { authTagLength: 16 });
      decipher.setAuthTag(Buffer.from(tag, "base64"));
      return Buffer.concat([decipher.update(Buffer.from(ciphertext, "base64")), decipher.final()]).toString("utf8");
    },
    derive: (purpose) => deriveAll(purpose)[0],
    deriveAll,
  };
}

const derived = (key: Uint8Array, purpose: string) => new Uint8Array(hkdfSync("sha256", key, "", purpose, 32)); // RFC 5869
const idOf = (key: Uint8Array) => createHash("sha256").update(key).digest("hex").slice(0, 16);
