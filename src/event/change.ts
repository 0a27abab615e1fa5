import { sql } from "drizzle-orm";
import { authorizeFound, type Resource, targetOf } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { invalid, NotFoundError } from "../errors.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { compilePayloadSchema, type ParameterMap } from "../schema/schema.ts";
import { storableJson } from "../schema/storable.ts";

/**
 * Corrects what is stored of an event; what came of it stays as it is. Null leaves a part alone. Throws NotFoundError,
 * ForbiddenError, and InvalidInputError for a payload that breaks its trigger's contract.
 */
export async function updateEvent(
  tx: Tx,
  session: Session,
  input: { id: bigint; payload: Json; config: JsonObject | null },
): Promise<{ id: bigint }> {
  const { id, payload, config } = input;
  await lockRecord(tx, session, { resource: "event", id, doing: "update" });
  if (payload !== null) await checkPayload(tx, id, payload);
  const given = [
    ...(payload === null ? [] : [sql`payload = ${storableJson(payload, "payload")}::text::jsonb`]),
    ...(config === null ? [] : [sql`config = ${storableJson(config, "config")}::text::jsonb`]),
  ];
  if (given.length > 0) {
    await tx.db.execute(sql`update attune.event set ${sql.join(given, sql`, `)} where id = ${String(id)}::bigint`);
  }
  return { id };
}

async function checkPayload(tx: Tx, id: bigint, payload: Json): Promise<void> {
  const [trigger] = await rows<{ outSchema: ParameterMap | null }>(
    tx.db,
    sql`select t.out_schema as "outSchema" from attune.event e join attune.trigger t on t.id = e.trigger
      where e.id = ${String(id)}::bigint`,
  );
  if (!trigger?.outSchema) return;
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) {
    throw invalid("payload", "must be an object: its trigger takes nothing else");
  }
  compilePayloadSchema(trigger.outSchema)(payload, "payload");
}

/** Deletes an event; its enforcements stay. Throws NotFoundError, ForbiddenError. */
export async function deleteEvent(tx: Tx, session: Session, { id }: { id: bigint }): Promise<{ id: bigint }> {
  return await deleteRecord(tx, session, { resource: "event", id });
}

/** Deletes an enforcement; its executions stay. Throws NotFoundError, ForbiddenError. */
export async function deleteEnforcement(tx: Tx, session: Session, { id }: { id: bigint }): Promise<{ id: bigint }> {
  return await deleteRecord(tx, session, { resource: "enforcement", id });
}

/** How each is known to grants. */
const records = { event: sql`trigger_ref`, enforcement: sql`rule_ref` } as const satisfies Partial<
  Record<Resource, unknown>
>;
type RecordKind = keyof typeof records;

async function deleteRecord(
  tx: Tx,
  session: Session,
  { resource, id }: { resource: RecordKind; id: bigint },
): Promise<{ id: bigint }> {
  await lockRecord(tx, session, { resource, id, doing: "delete" });
  await tx.db.execute(sql`delete from attune.${sql.identifier(resource)} where id = ${String(id)}::bigint`);
  return { id };
}

/** Locks the row. Throws NotFoundError also where the session may not know of it, ForbiddenError. */
async function lockRecord(
  tx: Tx,
  session: Session,
  { resource, id, doing }: { resource: RecordKind; id: bigint; doing: "update" | "delete" },
): Promise<void> {
  const [found] = await rows<{ ref: string }>(
    tx.db,
    sql`select ${records[resource]} as ref from attune.${sql.identifier(resource)} where id = ${String(id)}::bigint for update`,
  );
  const target = targetOf(found?.ref ?? "");
  if (!found) throw new NotFoundError(resource, String(id));
  authorizeFound(session, doing, { resource, id: String(id), target });
}
