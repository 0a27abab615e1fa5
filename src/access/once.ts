import { createHmac } from "node:crypto";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid } from "../errors.ts";
import { identityOf, type Session } from "./session.ts";

/** What the key of the inputs' hashes is derived for. */
export const onceSecret = "idempotency";

/** A client's key for something to be made once. */
export interface OnceRequest {
  key: string;
  operation: string;
  /** The whole input, without the key; only a keyed hash of it is stored, for it may hold a password. */
  input: unknown;
  /** What that hash is keyed with, derived from the encryption key. */
  secret: Uint8Array;
}

/**
 * Claims the key for this transaction. Answers null when it is new: then `settleOnce` must follow; otherwise the id of what
 * was made with it. Throws ConflictError when it was used for something else.
 */
export async function claimOnce(tx: Tx, session: Session, request: OnceRequest): Promise<{ id: bigint } | null> {
  const identity = identityOf(session);
  if (identity === null) throw invalid("idempotencyKey", "takes an identity: this token has none");
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
  const [made] = await rows<{ operation: string; hash: string; entity: string }>(
    tx.db,
    sql`select operation, input_hash as hash, entity::text from attune.idempotency_key
      where identity = ${identity}::bigint and key = ${request.key}`,
  );
  if (!made || made.operation !== request.operation || made.hash !== hash) {
    throw new ConflictError(`The idempotency key "${request.key}" was used for something else: use another.`);
  }
  return { id: BigInt(made.entity) };
}

/** The input as JSON that is the same in whatever order its names were sent. */
function canonical(input: unknown): string {
  return JSON.stringify(input, (_key, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}

/** Says what was made under the claimed key. */
export async function settleOnce(
  tx: Tx,
  session: Session,
  request: OnceRequest,
  made: { type: string; id: bigint },
): Promise<void> {
  await tx.db.execute(
    sql`update attune.idempotency_key set entity_type = ${made.type}, entity = ${String(made.id)}::bigint
      where identity = ${identityOf(session)}::bigint and key = ${request.key}`,
  );
}
