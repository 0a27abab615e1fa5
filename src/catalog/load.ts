import { and, eq, getTableName, isNull, sql } from "drizzle-orm";
import type { PgTable } from "drizzle-orm/pg-core";
import { type Db, rows } from "../db/client.ts";
import { action } from "../db/tables/action.ts";
import { pack, packRelease } from "../db/tables/pack.ts";
import { permissionSet } from "../db/tables/permission.ts";
import { rule } from "../db/tables/rule.ts";
import { runtime } from "../db/tables/runtime.ts";
import { sensor } from "../db/tables/sensor.ts";
import { trigger } from "../db/tables/trigger.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, InvalidInputError, type Issue, nounOf } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { hideSecrets, sealSecrets } from "../secrecy/settings.ts";
import { actionRows, idsByRef, sensorRows } from "./component-rows.ts";
import { markEnvironments, refreshRelease } from "./environment.ts";
import { lockNeeds, requireNeeded } from "./needs.ts";
import { type PackRules, ruleRows } from "./pack-rules.ts";
import type { CheckedPack } from "./read.ts";
import { sealStoredSettings } from "./settings.ts";
import { unsignedWebhook } from "./webhook.ts";

/**
 * Loads a pack's files into the database: upserts components by ref (ids survive), removes those that the files no longer have, and
 * keeps components created by hand and `enabled` flags; all components of a pack that its file disables are disabled. Does nothing if
 * the active release has the same contents. Returns the pack's id, whether anything has changed, and the faults that were passed over because they
 * were forced. Throws InvalidInputError with each fault at its position in the files, or ConflictError, and then the caller's transaction must not commit.
 */
export async function loadPack(
  tx: Tx,
  source: CheckedPack,
  packRules: PackRules,
  { origin = fromDirectory(), together = [], isForced = false }: LoadOptions = {},
): Promise<Loaded> {
  await lockNeeds(tx.db);
  const stored = await upsertPack(tx, source, origin);
  if (stored.digest === source.digest) {
    await refreshRelease(tx, String(stored.id), source);
    return { id: stored.id, changed: false, forced: [] };
  }
  const forced = await requireNeeded(tx.db, source, { together, isForced });
  const [release] = await tx.db
    .insert(packRelease)
    .values({
      packId: stored.id,
      version: source.pack.version,
      digest: source.digest,
      manifest: manifestOf(source),
      path: source.path,
      size: BigInt(source.size),
      environments: source.environments,
    })
    .onConflictDoUpdate({
      target: [packRelease.packId, packRelease.digest],
      set: { path: source.path, environments: source.environments },
    })
    .returning({ id: packRelease.id });
  const { enabled } = source.pack;
  const owner: Owner = {
    source,
    packId: stored.id,
    enabled,
    isSwitched: stored.enabled !== null && stored.enabled !== enabled,
  };
  await replaceComponents(tx, owner);
  await replace(tx.db, owner, rule, await ruleRows(tx.db, source, packRules));
  await tx.db
    .update(pack)
    .set({ ...columnsOf(source, origin), activeReleaseId: release?.id ?? null, installedAt: sql`now()` })
    .where(eq(pack.id, stored.id));
  await markEnvironments(tx, String(stored.id));
  tx.announce("queues");
  tx.announce("sensor");
  // The files may have made a setting secret.
  await sealStoredSettings(tx.db, tx.keyring);
  const rules = await rows<{ id: string }>(
    tx.db,
    sql`select id::text from attune.rule where pack = ${String(stored.id)}::bigint and not is_adhoc`,
  );
  for (const each of rules) await packRules.loaded(tx, each);
  return { id: stored.id, changed: true, forced };
}

/** A pack that was loaded. */
export interface Loaded {
  id: bigint;
  changed: boolean;
  /** What was passed over because it was forced. */
  forced: Issue[];
}

/** How a pack is loaded. */
export interface LoadOptions {
  /** By default a directory of a setting. */
  origin?: PackOrigin;
  /** Packs that are loaded after or before it in the same start. */
  together?: readonly CheckedPack[];
  /** Whether it is loaded although other packs then lack a version that they need. */
  isForced?: boolean;
}

/** Where a pack comes from. */
export interface PackOrigin {
  /** `directory`: it is loaded from the directory of a setting at each start. */
  type: "directory" | "artifact" | "archive" | "git";
  url: string | null;
  /** The commit of a Git repository. */
  ref: string | null;
  checksum: string | null;
  /** The id of the identity that installed it. */
  installedBy: string | null;
  /** The directory of the setting, where its files are used in another one. */
  directory?: string;
}

/** Returns the origin of a pack that a setting names. */
export const fromDirectory = (directory?: string): PackOrigin => ({
  ...{ type: "directory", url: null, ref: null, checksum: null, installedBy: null },
  ...(directory === undefined ? {} : { directory }),
});

/** Returns what a pack's row takes from its files. */
function columnsOf({ pack: manifest, path }: CheckedPack, origin: PackOrigin) {
  return {
    label: manifest.label,
    description: manifest.description,
    version: manifest.version,
    confSchema: JSON.parse(JSON.stringify(manifest.conf_schema)),
    meta: manifest.meta,
    tags: manifest.tags,
    runtimeDeps: manifest.runtime_deps,
    dependencies: manifest.dependencies,
    isStandard: manifest.system,
    sourceType: origin.type,
    sourceUrl: origin.url,
    sourceRef: origin.ref,
    checksum: origin.checksum,
    installedById: origin.installedBy === null ? null : BigInt(origin.installedBy),
    storagePath: origin.directory ?? path,
  };
}

/** Loads everything that rules refer to. */
async function replaceComponents({ db, keyring }: Tx, owner: Owner): Promise<void> {
  const { source } = owner;
  await replace(
    db,
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
    db,
    owner,
    permissionSet,
    source.permissionSets.map(({ ref, label, description, grants }) => ({
      ref,
      label,
      description,
      grants,
    })),
  );
  await replace(db, owner, sensor, await sensorRows(db, keyring, source));
  const sensorOf = new Map(
    source.sensors.flatMap(({ ref, trigger_types }) => trigger_types.map((each) => [each, ref])),
  );
  const sensors = await idsByRef(db, "sensor");
  await replace(
    db,
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
      sensorRef: sensorOf.get(ref) ?? null,
      sensorId: sensors.get(sensorOf.get(ref) ?? "") ?? null,
    })),
  );
  await replace(db, owner, action, await actionRows(db, source));
  await openWebhooks(db, owner);
}

/** Gives a path to each webhook that the files enable and that has none. */
async function openWebhooks(db: Db, { packId }: Owner): Promise<void> {
  const open = and(eq(trigger.packId, packId), trigger.webhookEnabled, isNull(trigger.webhookKey));
  for (const { id } of await db.select({ id: trigger.id }).from(trigger).where(open)) {
    await db.update(trigger).set(unsignedWebhook()).where(eq(trigger.id, id));
  }
}

interface StoredPack {
  id: bigint;
  /** Those of the active release; null: there is none. */
  digest: string | null;
  enabled: boolean | null;
}

/** Creates the pack's row or locks it, so that two processes load one after the other. */
async function upsertPack({ db, keyring }: Tx, source: CheckedPack, origin: PackOrigin): Promise<StoredPack> {
  const { pack: manifest } = source;
  await db
    .insert(pack)
    .values({
      ref: manifest.ref,
      ...sealSecrets(keyring, manifest.conf_schema, manifest.config),
      ...columnsOf(source, origin),
    })
    .onConflictDoNothing();
  const [stored] = await rows<Omit<StoredPack, "id"> & { id: string }>(
    db,
    sql`select p.id::text, r.digest, (r.manifest #>> '{pack,enabled}')::boolean as enabled from attune.pack p left join attune.pack_release r on r.id = p.active_release
      where p.ref = ${manifest.ref} for update of p`,
  );
  if (!stored) throw new ConflictError(`The pack "${manifest.ref}" was deleted while it was loaded.`);
  return { ...stored, id: BigInt(stored.id) };
}

/** Returns what a release stores of its files: everything but the values of secret settings. */
function manifestOf(source: CheckedPack): JsonObject {
  const config = hideSecrets(source.pack.conf_schema, source.pack.config);
  const sensors = source.sensors.map((each) => ({ ...each, config: hideSecrets(each.parameters, each.config) }));
  return JSON.parse(JSON.stringify({ ...source, sensors, pack: { ...source.pack, config } }));
}

type Owned = typeof runtime | typeof permissionSet | typeof sensor | typeof trigger | typeof action | typeof rule;
/** Flags that users change; the files set them on the first load only. */
const switched = new Set(["enabled", "webhookEnabled"]);

/** The pack whose components are loaded. */
interface Owner {
  source: CheckedPack;
  packId: bigint;
  /** Whether its file enables it, and whether that differs from what was loaded before. */
  enabled: boolean;
  isSwitched: boolean;
}

/** Upserts the pack's rows of one table and deletes those that the files no longer have. Keeps rows created by hand. */
async function replace(
  db: Db,
  { source, packId, enabled, isSwitched }: Owner,
  table: Owned,
  values: readonly ({ ref: string } & Record<string, unknown>)[],
): Promise<void> {
  const refs = JSON.stringify(values.map(({ ref }) => ref));
  const adhoc = "isAdhoc" in table ? sql`and not ${table.isAdhoc}` : sql``;
  await db.execute(
    sql`delete from ${table} where ${table.packId} = ${String(packId)}::bigint ${adhoc}
      and ${table.ref} not in (select jsonb_array_elements_text(${refs}::text::jsonb))`,
  );
  const owner = { packId, packRef: source.pack.ref };
  const issues: Issue[] = [];
  for (const given of values) {
    const value = "enabled" in given ? { ...given, enabled: enabled && given["enabled"] === true } : given;
    const keeps = (name: string) => switched.has(name) && !(isSwitched && name === "enabled");
    const set = Object.fromEntries(Object.entries({ ...value, ...owner }).filter(([name]) => !keeps(name)));
    // A row created by hand must not get the content of the pack's file.
    const own = "isAdhoc" in table ? sql`not ${table.isAdhoc}` : sql`${table.packId} = ${String(packId)}::bigint`;
    const done = await db
      .insert(table as PgTable)
      .values({ ...value, ...owner })
      .onConflictDoUpdate({ target: table.ref, set, setWhere: own })
      .returning({ id: table.id });
    if (done.length === 0) issues.push(source.issueAt(value.ref, ["ref"], clash(value.ref, getTableName(table))));
  }
  if (issues.length > 0) throw new InvalidInputError(issues);
}

function clash(ref: string, table: string): string {
  const noun = nounOf(table);
  const verb = `delete${table.replaceAll(/(?:^|_)([a-z])/g, (_match, letter: string) => letter.toUpperCase())}`;
  return `is also the ref of ${noun === "action" ? "an" : "a"} ${noun} that was created by hand: rename one of them; to delete the ${noun} "${ref}", start without this pack and call ${verb}`;
}
