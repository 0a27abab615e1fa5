import { and, eq, isNull, sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import { action } from "../db/tables/action.ts";
import { pack, packRelease } from "../db/tables/pack.ts";
import { permissionSet } from "../db/tables/permission.ts";
import { rule } from "../db/tables/rule.ts";
import { runtime } from "../db/tables/runtime.ts";
import { sensor } from "../db/tables/sensor.ts";
import { trigger } from "../db/tables/trigger.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, type Issue } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { hideSecrets, sealSecrets } from "../secrecy/settings.ts";
import { actionRows, idsByRef, sensorRows } from "./component-rows.ts";
import { markEnvironments, refreshRelease } from "./environment.ts";
import { lockNeeds, requireNeeded } from "./needs.ts";
import { type PackRules, ruleRows } from "./pack-rules.ts";
import type { CheckedPack } from "./read.ts";
import { type Owner, replace } from "./replace.ts";
import { sealStoredSettings } from "./settings.ts";
import { unsignedWebhook } from "./webhook.ts";

/**
 * Loads a pack's files into the database: upserts components by ref (ids survive), removes those that the files no longer have, and
 * keeps components created by hand, unless it adopts those of its refs, and `enabled` flags; all components of a pack that its file disables are disabled. Does nothing if
 * the active release has the same contents. Returns the pack's id, whether anything has changed, and the faults that were passed over because they
 * were forced. Throws InvalidInputError with each fault at its position in the files, or ConflictError, and then the caller's transaction must not commit.
 */
export async function loadPack(
  tx: Tx,
  source: CheckedPack,
  packRules: PackRules,
  { origin = fromDirectory(), together = [], isForced = false, adopts = false }: LoadOptions = {},
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
    isByHand: stored.isByHand,
    adopts,
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
  /** Whether its files replace what was created by hand under their refs: ids, and what names them, stay. */
  adopts?: boolean;
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
  /** Whether it was created by hand, and no files have been loaded since. Of those that early versions loaded only a release shows it. */
  isByHand: boolean;
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
    sql`select p.id::text, r.digest, (r.manifest #>> '{pack,enabled}')::boolean as enabled, p.source_type is null and p.active_release is null as "isByHand" from attune.pack p left join attune.pack_release r on r.id = p.active_release
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
