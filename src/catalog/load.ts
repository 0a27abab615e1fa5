import { sql } from "drizzle-orm";
import type { PgTable } from "drizzle-orm/pg-core";
import { type Db, rows } from "../db/client.ts";
import { action } from "../db/tables/action.ts";
import { pack, packRelease } from "../db/tables/pack.ts";
import { permissionSet } from "../db/tables/permission.ts";
import { rule } from "../db/tables/rule.ts";
import { runtime } from "../db/tables/runtime.ts";
import { trigger } from "../db/tables/trigger.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, InvalidInputError } from "../errors.ts";
import { compileCriteria, normaliseConditions } from "../lang/criteria.ts";
import { requireSecretPlaces } from "../lang/secret-use.ts";
import { compileTemplates } from "../lang/template.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { hideSecrets, sealSecrets } from "../secrecy/settings.ts";
import { secretSchemasJson } from "./action.ts";
import { runtimeRef } from "./manifest.ts";
import type { CheckedPack } from "./read.ts";
import { sealStoredSettings } from "./settings.ts";

/** Creates the pack `default`, for entities created by hand, if it is missing. */
export async function ensureDefaultPack(tx: Tx): Promise<void> {
  await tx.db
    .insert(pack)
    .values({ ref: "default", label: "Default", version: "1.0.0", description: "Entities created by hand." })
    .onConflictDoNothing();
}

/**
 * Loads a pack's files into the database: upserts components by ref (ids survive), removes those that the files no longer have, and
 * keeps components created by hand and `enabled` flags. Does nothing if the active release has the same contents. `loaded` is called
 * for each rule. Throws InvalidInputError or ConflictError, and then the caller's transaction must not commit.
 */
export async function loadPack(
  tx: Tx,
  source: CheckedPack,
  loaded: (tx: Tx, rule: { id: string }) => Promise<void>,
): Promise<void> {
  const stored = await upsertPack(tx, source);
  if (stored.digest === source.digest) return;
  const [release] = await tx.db
    .insert(packRelease)
    .values({
      packId: stored.id,
      version: source.pack.version,
      digest: source.digest,
      manifest: manifestOf(source),
      path: source.path,
      size: BigInt(source.size),
    })
    .onConflictDoUpdate({ target: [packRelease.packId, packRelease.digest], set: { path: source.path } })
    .returning({ id: packRelease.id });
  const owner = { packId: stored.id, packRef: source.pack.ref };
  await replace(
    tx.db,
    owner,
    runtime,
    source.runtimes.map(({ ref, description, runtime_type, name, distributions, installation }) => ({
      ref,
      description,
      runtimeType: runtime_type,
      name,
      distributions,
      installation,
    })),
  );
  await replace(
    tx.db,
    owner,
    permissionSet,
    source.permissionSets.map(({ ref, label, description, grants }) => ({
      ref,
      label,
      description,
      grants,
    })),
  );
  await replace(
    tx.db,
    owner,
    trigger,
    source.triggers.map(({ ref, label, description, enabled, parameters, output, webhook }) => ({
      ref,
      label,
      description,
      enabled,
      paramSchema: parameters,
      outSchema: output,
      webhookEnabled: webhook,
    })),
  );
  await replace(tx.db, owner, action, await actionRows(tx.db, source));
  await replace(tx.db, owner, rule, await ruleRows(tx.db, source));
  await tx.db.execute(
    sql`update attune.pack set active_release = ${String(release?.id)}::bigint, version = ${source.pack.version}, installed_at = now(),
          conf_schema = ${JSON.stringify(source.pack.conf_schema)}::text::jsonb
        where id = ${String(stored.id)}::bigint`,
  );
  // The files may have made a setting secret.
  await sealStoredSettings(tx.db, tx.keyring);
  const rules = await rows<{ id: string }>(
    tx.db,
    sql`select id::text from attune.rule where pack = ${String(stored.id)}::bigint and not is_adhoc`,
  );
  for (const each of rules) await loaded(tx, each);
}

/** Creates the pack's row or locks it, so that two processes load one after the other. */
async function upsertPack(
  { db, keyring }: Tx,
  { pack: manifest, path }: CheckedPack,
): Promise<{ id: bigint; digest: string | null }> {
  const values = {
    label: manifest.label,
    description: manifest.description,
    confSchema: JSON.parse(JSON.stringify(manifest.conf_schema)),
    meta: manifest.meta,
    tags: manifest.tags,
    runtimeDeps: manifest.runtime_deps,
    dependencies: manifest.dependencies,
    isStandard: manifest.system,
    sourceType: "directory",
    storagePath: path,
  };
  await db
    .insert(pack)
    .values({
      ref: manifest.ref,
      version: manifest.version,
      ...sealSecrets(keyring, manifest.conf_schema, manifest.config),
      ...values,
    })
    .onConflictDoNothing();
  const [stored] = await rows<{ id: string; digest: string | null }>(
    db,
    sql`select p.id::text, r.digest from attune.pack p left join attune.pack_release r on r.id = p.active_release
      where p.ref = ${manifest.ref} for update of p`,
  );
  if (!stored) throw new ConflictError(`The pack "${manifest.ref}" was deleted while it was loaded.`);
  return { id: BigInt(stored.id), digest: stored.digest };
}

/** Returns what a release stores of its files: everything but the values of secret settings. */
function manifestOf(source: CheckedPack): JsonObject {
  const config = hideSecrets(source.pack.conf_schema, source.pack.config);
  return JSON.parse(JSON.stringify({ ...source, pack: { ...source.pack, config } }));
}

type Owned = typeof runtime | typeof permissionSet | typeof trigger | typeof action | typeof rule;
/** Flags that users change; the files set them on the first load only. */
const switched = new Set(["enabled", "webhookEnabled"]);

/** Upserts the pack's rows of one table and deletes those that the files no longer have. Keeps rows created by hand. */
async function replace(
  db: Db,
  owner: { packId: bigint; packRef: string },
  table: Owned,
  values: readonly ({ ref: string } & Record<string, unknown>)[],
): Promise<void> {
  const refs = JSON.stringify(values.map(({ ref }) => ref));
  const adhoc = "isAdhoc" in table ? sql`and not ${table.isAdhoc}` : sql``;
  await db.execute(
    sql`delete from ${table} where ${table.packId} = ${String(owner.packId)}::bigint ${adhoc}
      and ${table.ref} not in (select jsonb_array_elements_text(${refs}::text::jsonb))`,
  );
  for (const value of values) {
    const set = Object.fromEntries(Object.entries({ ...value, ...owner }).filter(([name]) => !switched.has(name)));
    // A row created by hand must not get the content of the pack's file.
    const own = "isAdhoc" in table ? sql`not ${table.isAdhoc}` : sql`${table.packId} = ${String(owner.packId)}::bigint`;
    const done = await db
      .insert(table as PgTable)
      .values({ ...value, ...owner })
      .onConflictDoUpdate({ target: table.ref, set, setWhere: own })
      .returning({ id: table.id });
    if (done.length === 0) throw new ConflictError(`"${value.ref}" was already created by hand: delete it first.`);
  }
}

async function actionRows(db: Db, { actions }: CheckedPack): Promise<({ ref: string } & Record<string, unknown>)[]> {
  const runtimes = await idsByRef(db, "runtime");
  return actions.map((manifest) => {
    const runner = runtimeRef(manifest.runner_type);
    const runtimeId = runner === null ? null : (runtimes.get(runner) ?? missing(`actions of ${manifest.ref}`, runner));
    return {
      ref: manifest.ref,
      label: manifest.label,
      description: manifest.description,
      enabled: manifest.enabled,
      entrypoint: manifest.entry_point ?? manifest.ref,
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
}

async function ruleRows(
  db: Db,
  { rules, pack: { conf_schema: settings } }: CheckedPack,
): Promise<({ ref: string } & Record<string, unknown>)[]> {
  if (rules.length === 0) return [];
  const actions = await idsByRef(db, "action");
  const triggers = await idsByRef(db, "trigger");
  const secretSchemas = await findSecretSchemas(db);
  return rules.map((manifest) => {
    const conditions = normaliseConditions(manifest.conditions as Json, `${manifest.ref} conditions`);
    compileCriteria(manifest.condition, conditions);
    const path = `${manifest.ref} action_params`;
    const { places } = compileTemplates(manifest.action_params, path, settings);
    const schemas = secretSchemas.get(manifest.action_ref) ?? [null];
    requireSecretPlaces(places, { action: manifest.action_ref, schemas }, path);
    return {
      ref: manifest.ref,
      label: manifest.label,
      description: manifest.description,
      enabled: manifest.enabled,
      actionId: actions.get(manifest.action_ref) ?? missing(`${manifest.ref} action_ref`, manifest.action_ref),
      actionRef: manifest.action_ref,
      triggerId: triggers.get(manifest.trigger_ref) ?? missing(`${manifest.ref} trigger_ref`, manifest.trigger_ref),
      triggerRef: manifest.trigger_ref,
      condition: manifest.condition,
      conditions,
      actionParams: manifest.action_params,
      triggerParams: manifest.trigger_params,
    };
  });
}

async function findSecretSchemas(db: Db): Promise<Map<string, (ParameterMap | null)[]>> {
  const found = await rows<{ ref: string; schemas: (ParameterMap | null)[] }>(
    db,
    sql`select a.ref, ${secretSchemasJson} as schemas from attune.action a left join attune.runtime rt on rt.id = a.runtime`,
  );
  return new Map(found.map(({ ref, schemas }) => [ref, schemas]));
}

async function idsByRef(db: Db, table: "runtime" | "action" | "trigger"): Promise<Map<string, bigint>> {
  const found = await rows<{ id: string; ref: string }>(
    db,
    sql`select id::text, ref from attune.${sql.identifier(table)}`,
  );
  return new Map(found.map(({ id, ref }) => [ref, BigInt(id)]));
}

function missing(path: string, ref: string): never {
  throw new InvalidInputError([{ path, message: `there is no "${ref}"` }]);
}
