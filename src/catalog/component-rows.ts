import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import { InvalidInputError, type Issue } from "../errors.ts";
import { didYouMean } from "../lib/nearest.ts";
import { compileParameters } from "../schema/schema.ts";
import type { Keyring } from "../secrecy/keyring.ts";
import { sealSecrets } from "../secrecy/settings.ts";
import { runtimeRef, sensorRuntimeRef } from "./manifest.ts";
import type { CheckedPack } from "./read.ts";

/** A row to be stored, with its columns by their names. */
export type ComponentRow = { ref: string } & Record<string, unknown>;

/** Returns the rows of the pack's actions. Throws InvalidInputError for what they name and is not there. */
export async function actionRows(db: Db, source: CheckedPack): Promise<ComponentRow[]> {
  const runtimes = await idsByRef(db, "runtime");
  const sets = await idsByRef(db, "permission_set");
  const issues: Issue[] = [];
  const values = source.actions.map((manifest) => {
    const runner = runtimeRef(manifest.runner_type);
    const runtimeId = runner === null ? null : runtimes.get(runner);
    if (runtimeId === undefined) {
      issues.push(source.issueAt(manifest.ref, ["runner_type"], `there is no runtime "${runner}"`));
    }
    for (const [index, ref] of manifest.permission_set_refs.entries()) {
      if (sets.has(ref)) continue;
      const message = `there is no permission set "${ref}"${didYouMean(ref, [...sets.keys()])}`;
      issues.push(source.issueAt(manifest.ref, ["permission_set_refs", index], message));
    }
    return {
      ref: manifest.ref,
      label: manifest.label,
      description: manifest.description,
      enabled: manifest.enabled,
      entrypoint: manifest.entry_point ?? manifest.ref,
      container: manifest.container && { ...manifest.container, entry_point: manifest.entry_point },
      runtimeId,
      paramSchema: manifest.parameters,
      outSchema: manifest.output,
      parameterDelivery: manifest.parameter_delivery,
      parameterFormat: manifest.parameter_format,
      outputFormat: manifest.output_format,
      timeoutSeconds: manifest.timeout,
      retry: manifest.retry,
      onWorkerLoss: manifest.on_worker_loss,
      permissionSetRefs: manifest.permission_set_refs,
      workerSelector: manifest.worker_selector,
    };
  });
  if (issues.length > 0) throw new InvalidInputError(issues);
  return values;
}

/** Returns the rows of the pack's sensors, with their secret settings encrypted. Throws InvalidInputError for a runtime that is not there. */
export async function sensorRows(db: Db, keyring: Keyring, source: CheckedPack): Promise<ComponentRow[]> {
  const runtimes = await idsByRef(db, "runtime");
  const issues: Issue[] = [];
  const values = source.sensors.map(({ ref, label, description, enabled, entry_point, ...manifest }) => {
    const runtimeRef = sensorRuntimeRef(manifest.runner_type);
    const runtimeId = runtimes.get(runtimeRef);
    if (runtimeId === undefined) {
      issues.push(source.issueAt(ref, ["runner_type"], `there is no runtime "${runtimeRef}"`));
    }
    const { parameters: paramSchema } = manifest;
    const settings = compileParameters(paramSchema)(manifest.config, "config");
    return {
      ...{ ref, label, description, enabled, entrypoint: entry_point, runtimeId, runtimeRef, paramSchema },
      ...sealSecrets(keyring, paramSchema, settings),
    };
  });
  if (issues.length > 0) throw new InvalidInputError(issues);
  return values;
}

/** Returns the ids of all rows of the table by their refs. */
export async function idsByRef(db: Db, table: "runtime" | "permission_set" | "sensor"): Promise<Map<string, bigint>> {
  const found = await rows<{ id: string; ref: string }>(
    db,
    sql`select id::text, ref from attune.${sql.identifier(table)}`,
  );
  return new Map(found.map(({ id, ref }) => [ref, BigInt(id)]));
}
