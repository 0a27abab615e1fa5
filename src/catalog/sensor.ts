import { eq } from "drizzle-orm";
import { z } from "zod";
import { authorize, targetOf } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { runtime } from "../db/tables/runtime.ts";
import { sensor } from "../db/tables/sensor.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid, NotFoundError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkInput, componentRef } from "../schema/input.ts";
import { compileParameters } from "../schema/schema.ts";
import { restoreSecrets } from "../secrecy/settings.ts";
import { description, jsonObject, kept, label, parameters, parametersOf, relativePath } from "./fields.ts";
import { deleteRow, findPackOf, insertNew, isEmpty, lockByRef, updateRow, type Which } from "./row-kit.ts";

/** What people may say of a sensor; what is left out has its default or, in an update, stays. Null empties what can be empty. */
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
const sensorFields = z.object({
  label: kept(label),
  description: description.nullish(),
  runtime: kept(runtimeRef),
  entrypoint: kept(relativePath),
  enabled: kept(z.boolean()),
  paramSchema: parameters.nullish(),
  config: jsonObject.nullish(),
});
const newSensor = sensorFields.extend({ ref: componentRef, runtime: runtimeRef, entrypoint: relativePath });

/**
 * Makes a sensor by hand in the pack that its ref names. Throws InvalidInputError (also for a runtime of actions), NotFoundError
 * (pack, runtime), ForbiddenError, ConflictError (the ref is taken).
 */
export async function createSensor(
  tx: Tx,
  session: Session,
  input: SensorFields & { ref: string; runtime: string; entrypoint: string },
): Promise<{ id: bigint }> {
  const { runtime: wanted, ...fields } = checkInput(newSensor, input);
  authorize(session, "sensor", "create", targetOf(fields.ref));
  const config = checkConfig(fields.paramSchema ?? null, fields.config ?? null, {});
  const pack = await findPackOf(tx, fields.ref);
  const values = { ...fields, config, label: fields.label ?? fields.ref, isAdhoc: true };
  return await insertNew(tx, sensor, {
    ...values,
    ...(await findRuntime(tx, wanted)),
    packId: pack.id,
    packRef: pack.ref,
  });
}

/** Changes what the patch names; of a pack's own sensor only whether it is enabled. Throws NotFoundError, InvalidInputError, … */
export async function updateSensor(
  tx: Tx,
  session: Session,
  input: Which & { patch: SensorFields },
): Promise<{ id: bigint }> {
  authorize(session, "sensor", "update", targetOf(input.ref));
  const { runtime: wanted, ...fields } = checkInput(sensorFields, input.patch);
  const stored = await lockByRef(tx, sensor, input);
  const { enabled: _switch, ...others } = { ...fields, wanted };
  if (!stored.isAdhoc && !isEmpty(others)) {
    throw new ConflictError(
      `The sensor "${input.ref}" comes from its pack's files: only whether it is enabled can be changed.`,
    );
  }
  const schema = fields.paramSchema === undefined ? stored.paramSchema : fields.paramSchema;
  const isAboutConfig = fields.config !== undefined || fields.paramSchema !== undefined;
  await updateRow(tx, sensor, {
    id: stored.id,
    fields: {
      ...fields,
      ...(isAboutConfig ? { config: checkConfig(schema, fields.config ?? stored.config, stored.config ?? {}) } : {}),
      ...(wanted === undefined ? {} : await findRuntime(tx, wanted)),
    },
  });
  return { id: stored.id };
}

/** Deletes a sensor that was made by hand; its triggers and events keep its ref. Throws NotFoundError, ForbiddenError, ConflictError. */
export async function deleteSensor(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  authorize(session, "sensor", "delete", targetOf(ref));
  const { id, isAdhoc } = await lockByRef(tx, sensor, { ref });
  if (!isAdhoc) {
    throw new ConflictError(`The sensor "${ref}" comes from its pack's files: disable it instead.`);
  }
  await deleteRow(tx, sensor, id);
  return { id, ref };
}

function checkConfig(schema: JsonObject | null, config: JsonObject | null, stored: JsonObject): JsonObject | null {
  if (schema === null) return config;
  const map = parametersOf(schema);
  return compileParameters(map)(restoreSecrets(map, config ?? {}, stored), "config");
}

async function findRuntime(tx: Tx, ref: string): Promise<{ runtimeId: bigint; runtimeRef: string }> {
  const [found] = await tx.db
    .select({ id: runtime.id, type: runtime.runtimeType })
    .from(runtime)
    .where(eq(runtime.ref, ref));
  if (!found) throw new NotFoundError("runtime", ref);
  if (found.type !== "sensor") throw invalid("runtime", "must be a runtime of sensors, such as core.sensor.python");
  return { runtimeId: found.id, runtimeRef: ref };
}
