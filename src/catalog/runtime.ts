import { sql } from "drizzle-orm";
import { z } from "zod";
import {
  deleteRow,
  findPackForNew,
  insertRow,
  isEmpty,
  lockRow,
  type Row,
  updateRow,
  type Which,
} from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import { type Jobs, runtimeQueue } from "../db/jobs.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkNew, checkPatch, description, jsonObject, text } from "../schema/fields.ts";
import { checkInput } from "../schema/input.ts";
import { distributions, runtimeRefText } from "./manifest.ts";

/** The fields of a runtime that users set. A missing field has its default or, in an update, is unchanged. */
export interface RuntimeFields {
  name?: string | null;
  description?: string | null;
  distributions?: JsonObject | null;
  installation?: JsonObject | null;
}

const name = text(100).min(1);
const runtimeFields = z
  .object({ name, description: description.nullable(), distributions, installation: jsonObject.nullable() })
  .partial();

/**
 * Opens the queue of a new runtime, because every queue must be open before a transaction uses it (see `Jobs.open`). Throws
 * InvalidInputError.
 */
export async function prepareRuntime(jobs: Jobs, { ref }: { ref: string }): Promise<void> {
  if (checkInput(runtimeRefText, ref, "ref").includes(".action.")) await jobs.open(runtimeQueue(ref));
}

/**
 * Creates a runtime, whose queue `prepareRuntime` must have opened; its ref determines its type. The pack that the ref names must have
 * been created by hand. Throws InvalidInputError, NotFoundError (pack), ForbiddenError, ConflictError (the ref is taken, or the
 * pack comes from files).
 */
export async function createRuntime(
  tx: Tx,
  session: Session,
  input: RuntimeFields & { ref: string },
): Promise<{ id: bigint }> {
  const { ref, ...fields } = checkNew(runtimeFields.extend({ ref: runtimeRefText }), input);
  const [, type, lastPart] = ref.split(".");
  const runtimeType = type === "sensor" ? "sensor" : "action"; // the ref's format allows no other
  const pack = await findPackForNew(tx, session, { of: "runtime", ref });
  if (pack.isLoaded) throw loaded(pack.ref);
  const values = {
    ...fields,
    name: fields.name ?? lastPart ?? ref,
    distributions: fields.distributions ?? { commands: [] },
  };
  return await insertRow(tx, "runtime", { ...values, ref, runtimeType, packId: pack.id, packRef: pack.ref });
}

/** Changes the fields that the patch names. Throws NotFoundError, InvalidInputError, ForbiddenError, ConflictError. */
export async function updateRuntime(
  tx: Tx,
  session: Session,
  input: Which<"runtime"> & { patch: RuntimeFields },
): Promise<{ id: bigint }> {
  const fields = checkPatch(runtimeFields, input.patch);
  const stored = await lockRow(tx, session, { of: "runtime", doing: "update", which: input });
  if (!isEmpty(fields)) await refuseLoaded(tx, stored);
  await updateRow(tx, "runtime", { id: stored.id, fields });
  return { id: stored.id };
}

/**
 * Deletes a runtime and the sensors that run in it. Throws NotFoundError, ForbiddenError, and ConflictError when an action runs in it or
 * it comes from its pack's files.
 */
export async function deleteRuntime(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const stored = await lockRow(tx, session, { of: "runtime", doing: "delete", which: { ref } });
  const { id } = stored;
  const [user] = await rows<{ ref: string }>(
    tx.db,
    sql`select ref from attune.action where runtime = ${String(id)}::bigint order by ref limit 1`,
  );
  if (user) throw new ConflictError(`The action "${user.ref}" runs in the runtime "${ref}": delete it first.`);
  await refuseLoaded(tx, stored);
  await deleteRow(tx, "runtime", id);
  return { id, ref };
}

/** Throws ConflictError for a runtime of a pack that comes from files. */
async function refuseLoaded(tx: Tx, { packId }: Row<"runtime">): Promise<void> {
  const [pack] = await rows<{ ref: string; isLoaded: boolean }>(
    tx.db,
    sql`select ref, source_type is not null as "isLoaded" from attune.pack
      where id = ${packId === null ? null : String(packId)}::bigint for key share`,
  );
  if (pack?.isLoaded) throw loaded(pack.ref);
}

/** A runtime created by hand in such a pack would be removed when its files are loaded again. */
const loaded = (pack: string) =>
  new ConflictError(`The runtimes of the pack "${pack}" come from its files: create one in another pack.`);
