import { z } from "zod";
import {
  deleteRow,
  findPackForNew,
  findRow,
  insertRow,
  isEmpty,
  lockRow,
  updateRow,
  type Which,
} from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkNew, checkPatch, description, label, parameters } from "../schema/fields.ts";
import { componentRef } from "../schema/input.ts";

/** The fields of a trigger that users set. A missing field has its default or, in an update, is unchanged. */
export interface TriggerFields {
  label?: string | null;
  description?: string | null;
  enabled?: boolean | null;
  paramSchema?: JsonObject | null;
  outSchema?: JsonObject | null;
  /** The ref of the sensor that emits its events. */
  sensor?: string | null;
}

const triggerFields = z
  .object({
    label,
    description: description.nullable(),
    enabled: z.boolean(),
    paramSchema: parameters.nullable(),
    outSchema: parameters.nullable(),
    sensor: z.string().max(200).nullable(),
  })
  .partial();

/**
 * Creates a trigger by hand in the pack that its ref names. Throws InvalidInputError, NotFoundError (pack, sensor), ForbiddenError,
 * ConflictError (the ref is taken).
 */
export async function createTrigger(
  tx: Tx,
  session: Session,
  input: TriggerFields & { ref: string },
): Promise<{ id: bigint }> {
  const { sensor: sensorRef, ...fields } = checkNew(triggerFields.extend({ ref: componentRef }), input);
  const pack = await findPackForNew(tx, session, { of: "trigger", ref: fields.ref });
  const source = await findSensor(tx, session, sensorRef);
  const values = { ...fields, ...source, label: fields.label ?? fields.ref, isAdhoc: true };
  return await insertRow(tx, "trigger", { ...values, packId: pack.id, packRef: pack.ref });
}

/**
 * Changes the fields that the patch names; of a trigger of a pack's files only `enabled`. Throws NotFoundError, InvalidInputError,
 * ForbiddenError, ConflictError.
 */
export async function updateTrigger(
  tx: Tx,
  session: Session,
  input: Which<"trigger"> & { patch: TriggerFields },
): Promise<{ id: bigint }> {
  const { sensor: sensorRef, ...fields } = checkPatch(triggerFields, input.patch);
  const { id, isAdhoc } = await lockRow(tx, session, { of: "trigger", doing: "update", which: input });
  const { enabled: _switch, ...others } = { ...fields, sensorRef };
  if (!isAdhoc && !isEmpty(others)) {
    throw new ConflictError(
      `The trigger "${input.ref}" comes from its pack's files: only whether it is enabled can be changed.`,
    );
  }
  await updateRow(tx, "trigger", { id, fields: { ...fields, ...(await findSensor(tx, session, sensorRef)) } });
  return { id };
}

/**
 * Deletes a trigger that was created by hand, with the secret of its webhook; its rules and events keep its ref. Throws NotFoundError,
 * ForbiddenError, ConflictError.
 */
export async function deleteTrigger(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const { id, isAdhoc } = await lockRow(tx, session, { of: "trigger", doing: "delete", which: { ref } });
  if (!isAdhoc) {
    throw new ConflictError(`The trigger "${ref}" comes from its pack's files: disable it instead.`);
  }
  await deleteRow(tx, "trigger", id);
  return { id, ref };
}

/** Returns the columns that name the sensor: none if the field is missing, null ones if it is null. */
async function findSensor(
  tx: Tx,
  session: Session,
  ref: string | null | undefined,
): Promise<{ sensorId?: bigint | null; sensorRef?: string | null }> {
  if (ref === undefined) return {};
  if (ref === null) return { sensorId: null, sensorRef: null };
  const { id } = await findRow(tx.db, session, { of: "sensor", doing: "read", which: { ref } });
  return { sensorId: id, sensorRef: ref };
}
