import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorize, readGrants, requireHeld, targetOf } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import { action } from "../db/tables/action.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, InvalidInputError, type Issue, invalid, NotFoundError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { checkInput, componentRef } from "../schema/input.ts";
import { description, kept, label, parameters, text } from "./fields.ts";
import { LONGEST_TIMEOUT } from "./manifest.ts";
import { deleteRow, findPackOf, insertNew, isEmpty, lockByRef, updateRow, type Which } from "./row-kit.ts";

/** What people may say of an action; what is left out has its default or, in an update, stays. Null empties what can be empty. */
export interface ActionFields {
  label?: string | null;
  description?: string | null;
  runtime?: string | null;
  entrypoint?: string | null;
  enabled?: boolean | null;
  paramSchema?: JsonObject | null;
  outSchema?: JsonObject | null;
  parameterDelivery?: "stdin" | "file" | null;
  parameterFormat?: "json" | "yaml" | "dotenv" | null;
  outputFormat?: "text" | "json" | "yaml" | "jsonl" | null;
  timeoutSeconds?: number | null;
  onWorkerLoss?: "abandon" | "requeue" | null;
  permissionSetRefs?: string[] | null;
  workerSelector?: JsonObject | null;
}

const runtime = z.string().max(200);
const entrypoint = text(500).min(1);
const actionFields = z.object({
  label: kept(label),
  description: description.nullish(),
  runtime: kept(runtime),
  entrypoint: kept(entrypoint),
  enabled: kept(z.boolean()),
  paramSchema: parameters.nullish(),
  outSchema: parameters.nullish(),
  parameterDelivery: kept(z.enum(["stdin", "file"])),
  parameterFormat: kept(z.enum(["json", "yaml", "dotenv"])),
  outputFormat: kept(z.enum(["text", "json", "yaml", "jsonl"])),
  timeoutSeconds: z.int().min(1).max(LONGEST_TIMEOUT).nullish(),
  onWorkerLoss: kept(z.enum(["abandon", "requeue"])),
  permissionSetRefs: kept(z.array(componentRef).max(100)),
  workerSelector: kept(z.record(text(100).min(1), text(200))),
});
const newAction = actionFields.extend({ ref: componentRef, runtime, entrypoint });

/**
 * Makes an action by hand in the pack that its ref names: another way of running what an action of a pack's files runs. Throws
 * InvalidInputError, NotFoundError (pack, runtime), ForbiddenError (also for a permission set that the session does not hold
 * whole), ConflictError (the ref is taken).
 */
export async function createAction(
  tx: Tx,
  session: Session,
  input: ActionFields & { ref: string; runtime: string; entrypoint: string },
): Promise<{ id: bigint }> {
  const { runtime: runtimeRef, ...fields } = checkInput(newAction, input);
  authorize(session, "action", "create", targetOf(fields.ref));
  const pack = await findPackOf(tx, fields.ref);
  const wanted = { packId: pack.id, runtimeRef, entrypoint: fields.entrypoint };
  const runtimeId = await requireRunnable(tx.db, session, wanted);
  await requireSets(tx.db, session, fields.permissionSetRefs ?? []);
  const values = { ...fields, label: fields.label ?? fields.ref, runtimeId, isAdhoc: true };
  return await insertNew(tx, action, { ...values, packId: pack.id, packRef: pack.ref });
}

/**
 * Changes what the patch names; of a pack's own action only whether it is enabled. Whoever changes an action must be able to make it
 * as it becomes. Throws NotFoundError, InvalidInputError, ForbiddenError, ConflictError.
 */
export async function updateAction(
  tx: Tx,
  session: Session,
  input: Which & { patch: ActionFields },
): Promise<{ id: bigint }> {
  authorize(session, "action", "update", targetOf(input.ref));
  const { runtime: runtimeRef, ...fields } = checkInput(actionFields, input.patch);
  const stored = await lockByRef(tx, action, input);
  const { enabled: _switch, ...others } = { ...fields, runtimeRef };
  if (isEmpty(others)) {
    await updateRow(tx, action, { id: stored.id, fields });
    return { id: stored.id };
  }
  if (!stored.isAdhoc) throw new ConflictError(ownSentence(input.ref, "only whether it is enabled can be changed"));
  const runtimeId = await requireRunnable(tx.db, session, {
    packId: stored.packId,
    runtimeRef: runtimeRef ?? (await refOfRuntime(tx, stored.runtimeId)),
    entrypoint: fields.entrypoint ?? stored.entrypoint,
  });
  await requireSets(tx.db, session, fields.permissionSetRefs ?? stored.permissionSetRefs);
  await updateRow(tx, action, { id: stored.id, fields: { ...fields, runtimeId } });
  return { id: stored.id };
}

/** Deletes an action that was made by hand; what ran of it keeps its ref. Throws NotFoundError, ForbiddenError, ConflictError. */
export async function deleteAction(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  authorize(session, "action", "delete", targetOf(ref));
  const { id, isAdhoc } = await lockByRef(tx, action, { ref });
  if (!isAdhoc) throw new ConflictError(ownSentence(ref, "it is deleted with its pack; disable it instead"));
  await deleteRow(tx, action, id);
  return { id, ref };
}

const ownSentence = (ref: string, instead: string) => `The action "${ref}" comes from its pack's files: ${instead}.`;

async function refOfRuntime({ db }: Tx, id: bigint | null): Promise<string> {
  const [found] = await rows<{ ref: string }>(
    db,
    sql`select ref from attune.runtime where id = ${id === null ? null : String(id)}::bigint`,
  );
  return found?.ref ?? "";
}

/** Known by the action's own ref: whether an execution waits for an answer, and that a command is no template. */
const singular = ["core.inquire", "core.shell"];

interface Wanted {
  packId: bigint | null;
  runtimeRef: string;
  entrypoint: string;
}

/**
 * The runtime's id. What can be run is what an action of files runs there: built in, or a file of the release of the same pack.
 * Whoever may not run those may not run it under another name either.
 */
async function requireRunnable(db: Db, session: Session, wanted: Wanted): Promise<bigint> {
  const [found] = await rows<{ id: string; type: string; known: { ref: string; entrypoint: string }[] | null }>(
    db,
    sql`select r.id::text, r.runtime_type as type, (
        select jsonb_agg(jsonb_build_object('ref', a.ref, 'entrypoint', a.entrypoint) order by a.ref) from attune.action a
        where a.runtime = r.id and not a.is_adhoc
          and (r.ref = 'core.action.builtin' or a.pack = ${wanted.packId === null ? null : String(wanted.packId)}::bigint)) as known
      from attune.runtime r where r.ref = ${wanted.runtimeRef}`,
  );
  if (!found) throw new NotFoundError("runtime", wanted.runtimeRef);
  if (found.type !== "action") throw invalid("runtime", "must be a runtime of actions");
  const known = found.known ?? [];
  const same = known.filter(({ entrypoint }) => entrypoint === wanted.entrypoint);
  const possible = known.filter((each) => !known.some((own) => sharesWith(own, each))).map((each) => each.entrypoint);
  if (same.length === 0 || !possible.includes(wanted.entrypoint)) {
    throw invalid("entrypoint", impossible(wanted, [...new Set(possible)]));
  }
  for (const { ref } of same) authorize(session, "action", "execute", targetOf(ref));
  return BigInt(found.id);
}

const sharesWith = (own: { ref: string; entrypoint: string }, { entrypoint }: { entrypoint: string }) =>
  singular.includes(own.ref) && own.entrypoint === entrypoint;

function impossible({ runtimeRef, entrypoint }: Wanted, possible: readonly string[]): string {
  if (possible.length === 0) {
    return `nothing can be run in ${runtimeRef} by an action made by hand in this pack: its files have no action for it; core.action.builtin can be used in any pack`;
  }
  const among = possible.slice(0, 20).join(", ");
  return `must be what an action of the pack's files runs in ${runtimeRef}, one of ${among}${didYouMean(entrypoint, possible)}`;
}

/** Throws InvalidInputError for sets that do not exist, and ForbiddenError where the session does not hold all of one. */
export async function requireSets(
  db: Db,
  session: Session,
  refs: readonly string[],
  path = "permissionSetRefs",
): Promise<void> {
  if (refs.length === 0) return;
  const sets = await rows<{ ref: string; grants: unknown[] }>(
    db,
    sql`select ref, grants from attune.permission_set
      where ref in (select jsonb_array_elements_text(${JSON.stringify(refs)}::text::jsonb))`,
  );
  const issues = refs.flatMap((ref, index): Issue[] =>
    sets.some((set) => set.ref === ref)
      ? []
      : [{ path: `${path}.${index}`, message: `there is no permission set "${ref}"` }],
  );
  if (issues.length > 0) throw new InvalidInputError(issues);
  for (const { grants } of sets) requireHeld(session, readGrants(grants));
}
