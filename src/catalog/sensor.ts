import { z } from "zod";
import {
  deleteRow,
  findPackForNew,
  findRow,
  insertRow,
  isEmpty,
  lockRow,
  type Row,
  updateRow,
  type Which,
} from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkNew, checkPatch, description, jsonObject, label, parameters, relativePath } from "../schema/fields.ts";
import { componentRef } from "../schema/input.ts";
import type { SealedSettings } from "../secrecy/settings.ts";
import { checkSettings } from "./settings.ts";

/** The fields of a sensor that users set. A missing field has its default or, in an update, is unchanged. */
export interface SensorFields {
  label?: string | null;
  description?: string | null;
  runtime?: string | null;
  entrypoint?: string | null;
  enabled?: boolean | null;
  paramSchema?: JsonObject | null;
  config?: JsonObject | null;
}

const runtimeRef = z.string().max(200);
const sensorFields = z
  .object({
    label,
    description: description.nullable(),
    runtime: runtimeRef,
    entrypoint: relativePath,
    enabled: z.boolean(),
    paramSchema: parameters.nullable(),
    config: jsonObject.nullable(),
  })
  .partial();
const newSensor = sensorFields.extend({ ref: componentRef, runtime: runtimeRef, entrypoint: relativePath });

/**
 * Creates a sensor by hand in the pack that its ref names. Throws InvalidInputError (also for a runtime of actions), NotFoundError
 * (pack, runtime), ForbiddenError, ConflictError (the ref is taken).
 */
export async function createSensor(
  tx: Tx,
  session: Session,
  input: SensorFields & { ref: string; runtime: string; entrypoint: string },
): Promise<{ id: bigint }> {
  const { runtime: wanted, ...fields } = checkNew(newSensor, input);
  const settings = checkConfig(tx, fields, null);
  const pack = await findPackForNew(tx, session, { of: "sensor", ref: fields.ref });
  const values = { ...fields, ...settings, label: fields.label ?? fields.ref, isAdhoc: true };
  const runtime = await findRuntime(tx, session, wanted);
  return await insertRow(tx, "sensor", { ...values, ...runtime, packId: pack.id, packRef: pack.ref });
}

/**
 * Changes the fields that the patch names; of a sensor of a pack's files only `enabled`. Throws NotFoundError, InvalidInputError,
 * ForbiddenError, ConflictError.
 */
export async function updateSensor(
  tx: Tx,
  session: Session,
  input: Which<"sensor"> & { patch: SensorFields },
): Promise<{ id: bigint }> {
  const { runtime: wanted, ...fields } = checkPatch(sensorFields, input.patch);
  const stored = await lockRow(tx, session, { of: "sensor", doing: "update", which: input });
  const { enabled: _switch, ...others } = { ...fields, wanted };
  if (!stored.isAdhoc && !isEmpty(others)) {
    throw new ConflictError(
      `The sensor "${input.ref}" comes from its pack's files: only whether it is enabled can be changed.`,
    );
  }
  const isAboutConfig = fields.config !== undefined || fields.paramSchema !== undefined;
  await updateRow(tx, "sensor", {
    id: stored.id,
    fields: {
      ...fields,
      ...(isAboutConfig ? checkConfig(tx, fields, stored) : {}),
      ...(wanted === undefined ? {} : await findRuntime(tx, session, wanted)),
    },
  });
  return { id: stored.id };
}

/** Deletes a sensor that was created by hand; its triggers and events keep its ref. Throws NotFoundError, ForbiddenError, ConflictError. */
export async function deleteSensor(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const { id, isAdhoc } = await lockRow(tx, session, { of: "sensor", doing: "delete", which: { ref } });
  if (!isAdhoc) {
    throw new ConflictError(`The sensor "${ref}" comes from its pack's files: disable it instead.`);
  }
  await deleteRow(tx, "sensor", id);
  return { id, ref };
}

/** Returns the settings that the sensor then has, in their stored form. */
function checkConfig(
  tx: Tx,
  { paramSchema, config }: SensorFields,
  stored: Row<"sensor"> | null,
): { config: JsonObject | null; secrets: SealedSettings } {
  const schema = paramSchema === undefined ? (stored?.paramSchema ?? null) : paramSchema;
  const given = config === undefined ? (stored?.config ?? null) : config;
  if (schema === null) return { config: given, secrets: {} };
  const known = { schema: stored?.paramSchema ?? {}, secrets: stored?.secrets ?? {} };
  return checkSettings(tx.keyring, { schema, config: given ?? {} }, known);
}

async function findRuntime(tx: Tx, session: Session, ref: string): Promise<{ runtimeId: bigint; runtimeRef: string }> {
  const { id, runtimeType } = await findRow(tx.db, session, { of: "runtime", doing: "read", which: { ref } });
  if (runtimeType !== "sensor") throw invalid("runtime", "must be a runtime of sensors, such as core.sensor.python");
  return { runtimeId: id, runtimeRef: ref };
}
