import { sql } from "drizzle-orm";
import { z } from "zod";
import { deleteRow, lockRow, updateRow } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { invalid } from "../errors.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { checkPatch, json, jsonObject } from "../schema/fields.ts";
import { compilePayloadSchema, type ParameterMap } from "../schema/schema.ts";

/** The fields of an event that can be corrected. Missing fields are unchanged; null empties the field. */
export interface EventFields {
  payload?: Json;
  config?: JsonObject | null;
}

const eventFields = z.object({ payload: json.nullable(), config: jsonObject.nullable() }).partial();

/**
 * Corrects an event; its enforcements and executions are unchanged. Throws NotFoundError, ForbiddenError, InvalidInputError for a
 * payload that its trigger does not accept, and ConflictError when it has changed since `expectedUpdated`.
 */
export async function updateEvent(
  tx: Tx,
  session: Session,
  { patch, ...which }: { id: bigint; expectedUpdated?: Date | null; patch: EventFields },
): Promise<{ id: bigint }> {
  const fields = checkPatch(eventFields, patch);
  const { id } = await lockRow(tx, session, { of: "event", doing: "update", which });
  if (fields.payload !== undefined && fields.payload !== null) await checkPayload(tx, id, fields.payload);
  await updateRow(tx, "event", { id, fields });
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
    throw invalid("payload", "must be an object: the trigger accepts nothing else");
  }
  compilePayloadSchema(trigger.outSchema)(payload, "payload");
}

/** Deletes an event; its enforcements are kept. Throws NotFoundError, ForbiddenError. */
export async function deleteEvent(tx: Tx, session: Session, { id }: { id: bigint }): Promise<{ id: bigint }> {
  // In the order of its evaluation, which this waits for: first that it is pending, then the event.
  await rows(tx.db, sql`select from attune.pending_event where event = ${String(id)}::bigint for update`);
  await lockRow(tx, session, { of: "event", doing: "delete", which: { id } });
  await deleteRow(tx, "event", id);
  return { id };
}

/** Deletes an enforcement; its executions are kept. Throws NotFoundError, ForbiddenError. */
export async function deleteEnforcement(tx: Tx, session: Session, { id }: { id: bigint }): Promise<{ id: bigint }> {
  await lockRow(tx, session, { of: "enforcement", doing: "delete", which: { id } });
  await deleteRow(tx, "enforcement", id);
  return { id };
}
