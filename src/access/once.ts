import { createHmac } from "node:crypto";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid } from "../errors.ts";
import { identityOf, type Session } from "./session.ts";

/** The purpose for which the key of the input hashes is derived. */
export const onceSecret = "idempotency";

/** A client's key for a mutation that must create its entity only once. */
export interface OnceRequest {
  key: string;
  operation: string;
  /** The whole input without the key. Only a keyed hash of it is stored, because it may contain a password. */
  input: unknown;
  /** The key of that hash, derived from the encryption key. */
  secret: Uint8Array;
}

/**
 * Claims the key for this transaction. Returns null when the key is new: then `settleOnce` must follow. Otherwise returns the id of
 * the entity that was created with it. Throws InvalidInputError, and ConflictError when the key was used with another input.
 */
export async function claimOnce(tx: Tx, session: Session, request: OnceRequest): Promise<{ id: bigint } | null> {
  const identity = identityOf(session);
  if (identity === null) throw invalid("idempotencyKey", "requires an identity: this token has none");
  if (!/^[\x21-\x7e]{1,200}$/.test(request.key)) {
    throw invalid("idempotencyKey", "must be 1 to 200 printable characters without spaces");
  }
  const hash = createHmac("sha256", request.secret).update(canonical(request.input)).digest("hex");
  await tx.db.execute(
    sql`delete from attune.idempotency_key where identity = ${identity}::bigint and key = ${request.key}
      and created < now() - interval '24 hours'`,
  );
  const claimed = await rows(
    tx.db,
    sql`insert into attune.idempotency_key (identity, key, operation, input_hash, entity_type, entity)
      values (${identity}::bigint, ${request.key}, ${request.operation}, ${hash}, '', 0)
      on conflict (identity, key) do nothing returning id`,
  );
  if (claimed.length > 0) return null;
  const [stored] = await rows<{ operation: string; hash: string; entity: string }>(
    tx.db,
    sql`select operation, input_hash as hash, entity::text from attune.idempotency_key
      where identity = ${identity}::bigint and key = ${request.key}`,
  );
  if (!stored || stored.operation !== request.operation || stored.hash !== hash) {
    throw new ConflictError(`The idempotency key "${request.key}" was used for something else: use another.`);
  }
  return { id: BigInt(stored.entity) };
}

/** Returns the input as JSON that does not depend on the order of its names. */
function canonical(input: unknown): string {
  return JSON.stringify(input, (_key, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}

/** Records the entity that was created with the claimed key. */
export async function settleOnce(
  tx: Tx,
  session: Session,
  request: OnceRequest,
  created: { type: string; id: bigint },
): Promise<void> {
  await tx.db.execute(
    sql`update attune.idempotency_key set entity_type = ${created.type}, entity = ${String(created.id)}::bigint
      where identity = ${identityOf(session)}::bigint and key = ${request.key}`,
  );
}
