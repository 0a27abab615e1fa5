import { eq, sql } from "drizzle-orm";
import { z } from "zod";
import { keepAdministrator } from "../access/administrator.ts";
import { authorize, targetOf } from "../access/grants.ts";
import { deleteRow, insertRow, isEmpty, lockRow, updateRow, type Which } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import { action } from "../db/tables/action.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkNew, checkPatch, description, jsonObject, label, parameters, texts } from "../schema/fields.ts";
import { dependency } from "./dependencies.ts";
import { packRef, semver } from "./manifest.ts";
import { lockNeeds, refuseNeeded, requireNeededByHand } from "./needs.ts";
import { checkSettings } from "./settings.ts";

/** The fields of a pack that users set. A missing field has its default or, in an update, is unchanged. */
export interface PackFields {
  label?: string | null;
  description?: string | null;
  version?: string | null;
  confSchema?: JsonObject | null;
  /** Replaces all settings: a missing one has its default. */
  config?: JsonObject | null;
  meta?: JsonObject | null;
  tags?: string[] | null;
  runtimeDeps?: string[] | null;
  dependencies?: string[] | null;
}

const packFields = z
  .object({
    label,
    description: description.nullable(),
    version: semver,
    confSchema: parameters,
    config: jsonObject,
    meta: jsonObject,
    tags: texts,
    runtimeDeps: texts,
    dependencies: z.array(dependency).max(100),
  })
  .partial();

/**
 * Creates a pack for entities created by hand. Throws InvalidInputError (also for a dependency that is not there), ForbiddenError, ConflictError (the ref is
 * taken).
 */
export async function createPack(
  tx: Tx,
  session: Session,
  input: PackFields & { ref: string },
): Promise<{ id: bigint }> {
  const { ref, ...fields } = checkNew(packFields.extend({ ref: packRef }), input);
  authorize(session, "pack", "create", targetOf(ref));
  const settings = checkSettings(tx.keyring, { schema: fields.confSchema ?? {}, config: fields.config ?? {} });
  const { version = "1.0.0", dependencies = [] } = fields;
  if (dependencies.length > 0) {
    await lockNeeds(tx.db);
    const pack = { ref, version, dependencies };
    await requireNeededByHand(tx.db, session, { pack, before: null, hasNewNeeds: true });
  }
  return await insertRow(tx, "pack", { ...fields, ...settings, ref, label: fields.label ?? ref, version });
}

/**
 * Changes the fields that the patch names; of a pack that was loaded from files only its configuration. The configuration is checked
 * against the pack's schema, a new version against what other packs need, and new dependencies against the packs that are there. Throws NotFoundError,
 * InvalidInputError, ForbiddenError, ConflictError.
 */
export async function updatePack(
  tx: Tx,
  session: Session,
  input: Which<"pack"> & { patch: PackFields },
): Promise<{ id: bigint }> {
  const fields = checkPatch(packFields, input.patch);
  const isAboutNeeds = fields.version !== undefined || fields.dependencies !== undefined;
  if (isAboutNeeds) await lockNeeds(tx.db);
  const stored = await lockRow(tx, session, { of: "pack", doing: "update", which: input });
  const { config, ...others } = fields;
  if (stored.sourceType !== null && !isEmpty(others)) {
    throw new ConflictError(`The pack "${input.ref}" comes from files: only its config can be changed here.`);
  }
  if (isAboutNeeds) {
    const { version = stored.version, dependencies = stored.dependencies } = fields;
    const pack = { ref: stored.ref, version, dependencies };
    const hasNewNeeds = fields.dependencies !== undefined;
    await requireNeededByHand(tx.db, session, { pack, before: stored.version, hasNewNeeds });
  }
  const isAboutConfig = config !== undefined || fields.confSchema !== undefined;
  const settings = { schema: fields.confSchema ?? stored.confSchema, config: config ?? stored.config };
  const known = { schema: stored.confSchema, secrets: stored.secrets };
  await updateRow(tx, "pack", {
    id: stored.id,
    fields: isAboutConfig ? { ...others, ...checkSettings(tx.keyring, settings, known) } : others,
  });
  return { id: stored.id };
}

/**
 * Deletes a pack with its components; executions keep their refs. Throws NotFoundError, ForbiddenError, and ConflictError for a pack
 * that the system needs, a pack that others need, a pack that owns keys, and a pack in whose runtimes an action of another pack runs.
 */
export async function deletePack(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  await lockNeeds(tx.db);
  const { id, isStandard } = await lockRow(tx, session, { of: "pack", doing: "delete", which: { ref } });
  if (isStandard || ref === "core" || ref === "default") {
    throw new ConflictError(`The pack "${ref}" belongs to Attune itself: it cannot be deleted.`);
  }
  await refuseNeeded(tx.db, session, ref);
  await refuseUsed(tx, { id: String(id), ref });
  await keepAdministrator(tx, async () => {
    // Actions first: they prevent the deletion of their runtimes.
    await tx.db.delete(action).where(eq(action.packId, id));
    await deleteRow(tx, "pack", id);
  });
  return { id, ref };
}

async function refuseUsed(tx: Tx, { id, ref }: { id: string; ref: string }): Promise<void> {
  const [needed] = await rows<{ key: string | null; action: string | null }>(
    tx.db,
    sql`select (select min(ref) from attune.key where owner_pack = ${id}::bigint) as key,
      (select min(a.ref) from attune.action a join attune.runtime r on r.id = a.runtime
        where r.pack = ${id}::bigint and a.pack is distinct from r.pack) as action`,
  );
  if (needed?.key) throw new ConflictError(`The pack "${ref}" owns the key "${needed.key}": delete its keys first.`);
  if (needed?.action) {
    throw new ConflictError(`The action "${needed.action}" runs in a runtime of the pack "${ref}": delete it first.`);
  }
}
