import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorize, targetOf } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import { type Jobs, runtimeQueue } from "../db/jobs.ts";
import { runtime } from "../db/tables/runtime.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkInput } from "../schema/input.ts";
import { description, jsonObject, kept, text } from "./fields.ts";
import { distributions, runtimeRefText } from "./manifest.ts";
import { deleteRow, findPackOf, insertNew, isEmpty, lockByRef, updateRow, type Which } from "./row-kit.ts";

/** What people may say of a runtime; what is left out has its default or, in an update, stays. Null empties what can be empty. */
export interface RuntimeFields {
  name?: string | null;
  description?: string | null;
  distributions?: JsonObject | null;
  installation?: JsonObject | null;
}

const name = text(100).min(1);
const runtimeFields = z.object({
  name: kept(name),
  description: description.nullish(),
  distributions: kept(distributions),
  installation: jsonObject.nullish(),
});

/**
 * Opens the queue of a new runtime, as every queue must be known before a transaction uses it: inside one, on the embedded
 * database's only connection, looking it up would wait for ever. Throws InvalidInputError.
 */
export async function prepareRuntime(jobs: Jobs, { ref }: { ref: string }): Promise<void> {
  if (checkInput(runtimeRefText, ref, "ref").includes(".action.")) await jobs.open(runtimeQueue(ref));
}

/**
 * Makes a runtime, whose queue `prepareRuntime` has opened; its ref says what runs in it. The pack that the ref names must have been made by hand. Throws InvalidInputError,
 * NotFoundError (pack), ForbiddenError, ConflictError (the ref is taken, or the pack comes from files).
 */
export async function createRuntime(
  tx: Tx,
  session: Session,
  input: RuntimeFields & { ref: string },
): Promise<{ id: bigint }> {
  const { ref, ...fields } = checkInput(runtimeFields.extend({ ref: runtimeRefText }), input);
  authorize(session, "runtime", "create", targetOf(ref));
  const [, type, lastPart] = ref.split(".");
  const runtimeType = type === "sensor" ? "sensor" : "action"; // the ref's form lets nothing else through
  const pack = await findPackOf(tx, ref);
  refuseLoaded(pack);
  const values = {
    ...fields,
    name: fields.name ?? lastPart ?? ref,
    distributions: fields.distributions ?? { commands: [] },
  };
  return await insertNew(tx, runtime, { ...values, ref, runtimeType, packId: pack.id, packRef: pack.ref });
}

/** Changes what the patch names. Throws NotFoundError, InvalidInputError, ForbiddenError, ConflictError. */
export async function updateRuntime(
  tx: Tx,
  session: Session,
  input: Which & { patch: RuntimeFields },
): Promise<{ id: bigint }> {
  authorize(session, "runtime", "update", targetOf(input.ref));
  const fields = checkInput(runtimeFields, input.patch);
  const { id, packId } = await lockByRef(tx, runtime, input);
  if (!isEmpty(fields)) await refuseOwn(tx, { ref: input.ref, packId });
  await updateRow(tx, runtime, { id, fields });
  return { id };
}

/**
 * Deletes a runtime, and the sensors that run in it. Throws NotFoundError, ForbiddenError, and ConflictError while an action runs in
 * it, or where it comes from its pack's files.
 */
export async function deleteRuntime(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  authorize(session, "runtime", "delete", targetOf(ref));
  const { id, packId } = await lockByRef(tx, runtime, { ref });
  const [user] = await rows<{ ref: string }>(
    tx.db,
    sql`select ref from attune.action where runtime = ${String(id)}::bigint order by ref limit 1`,
  );
  if (user) throw new ConflictError(`The action "${user.ref}" runs in the runtime "${ref}": delete it first.`);
  await refuseOwn(tx, { ref, packId });
  await deleteRow(tx, runtime, id);
  return { id, ref };
}

async function refuseOwn(tx: Tx, { ref, packId }: { ref: string; packId: bigint | null }): Promise<void> {
  if (packId !== null) refuseLoaded(await findPackOf(tx, ref));
}

/** Loading a pack's files again removes what they do not have. */
function refuseLoaded({ ref, isLoaded }: { ref: string; isLoaded: boolean }): void {
  if (isLoaded)
    throw new ConflictError(`The runtimes of the pack "${ref}" come from its files: make one in another pack.`);
}
