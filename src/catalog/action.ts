import { eq, type SQL, sql } from "drizzle-orm";
import { z } from "zod";
import { authorize, mayKnow, targetOf } from "../access/grants.ts";
import { requireHeldSets } from "../access/permission.ts";
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
import { type Db, rows } from "../db/client.ts";
import { runtime } from "../db/tables/runtime.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, InvalidInputError, invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { checkNew, checkPatch, description, label, parameters, text } from "../schema/fields.ts";
import { componentRef } from "../schema/input.ts";
import { namesUnfitForDotenv, unfitForDotenv } from "./manifest.ts";
import { requireQueue, selectorOf } from "./queues.ts";
import { LONGEST_TIMEOUT, type RetryInput, retryInput } from "./retry.ts";

/** The fields of an action that users set. A missing field has its default or, in an update, is unchanged. */
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
  retry?: RetryInput | null;
  onWorkerLoss?: "abandon" | "requeue" | null;
  permissionSetRefs?: string[] | null;
  workerSelector?: JsonObject | null;
}

const runtimeRef = z.string().max(200);
const entrypoint = text(500).min(1);
const actionFields = z
  .object({
    label,
    description: description.nullable(),
    runtime: runtimeRef,
    entrypoint,
    enabled: z.boolean(),
    paramSchema: parameters.nullable(),
    outSchema: parameters.nullable(),
    parameterDelivery: z.enum(["stdin", "file"]),
    parameterFormat: z.enum(["json", "yaml", "dotenv"]),
    outputFormat: z.enum(["text", "json", "yaml", "jsonl"]),
    timeoutSeconds: z.int().min(1).max(LONGEST_TIMEOUT).nullable(),
    retry: retryInput.nullable(),
    onWorkerLoss: z.enum(["abandon", "requeue"]),
    permissionSetRefs: z.array(componentRef).max(100),
    workerSelector: selectorOf,
  })
  .partial();
const newAction = actionFields.extend({ ref: componentRef, runtime: runtimeRef, entrypoint });

/**
 * Creates an action by hand in the pack that its ref names, which runs the entry point of an action of a pack's files. Throws
 * InvalidInputError, NotFoundError (pack, runtime, permission set), ForbiddenError (also for a permission set that the session does
 * not hold), ConflictError (the ref is taken).
 */
export async function createAction(
  tx: Tx,
  session: Session,
  input: ActionFields & { ref: string; runtime: string; entrypoint: string },
): Promise<{ id: bigint }> {
  const { runtime: named, ...fields } = checkNew(newAction, input);
  const pack = await findPackForNew(tx, session, { of: "action", ref: fields.ref });
  const runsIn = await findRow(tx.db, session, { of: "runtime", doing: "read", which: { ref: named } });
  requireFormat(fields);
  await requireRunnable(tx.db, session, { packId: pack.id, runsIn, entrypoint: fields.entrypoint });
  await requireHeldSets(tx.db, session, fields.permissionSetRefs ?? []);
  await requireQueue(tx, { runtime: named, selector: fields.workerSelector });
  const values = { ...fields, label: fields.label ?? fields.ref, runtimeId: runsIn.id, isAdhoc: true };
  return await insertRow(tx, "action", { ...values, packId: pack.id, packRef: pack.ref });
}

/**
 * Changes the fields that the patch names; of an action of a pack's files only `enabled`. The session must be allowed to create the
 * resulting action. Throws NotFoundError, InvalidInputError, ForbiddenError, ConflictError.
 */
export async function updateAction(
  tx: Tx,
  session: Session,
  input: Which<"action"> & { patch: ActionFields },
): Promise<{ id: bigint }> {
  const { runtime: named, ...fields } = checkPatch(actionFields, input.patch);
  const stored = await lockRow(tx, session, { of: "action", doing: "update", which: input });
  const { enabled: _switch, ...others } = { ...fields, named };
  if (isEmpty(others)) {
    await updateRow(tx, "action", { id: stored.id, fields });
    return { id: stored.id };
  }
  if (!stored.isAdhoc) throw new ConflictError(ownSentence(input.ref, "only whether it is enabled can be changed"));
  requireFormat({ ...stored, ...fields });
  const runsIn =
    named === undefined
      ? await findStoredRuntime(tx, stored)
      : await findRow(tx.db, session, { of: "runtime", doing: "read", which: { ref: named } });
  const entrypoint = fields.entrypoint ?? stored.entrypoint;
  await requireRunnable(tx.db, session, { packId: stored.packId, runsIn, entrypoint });
  await requireHeldSets(tx.db, session, fields.permissionSetRefs ?? stored.permissionSetRefs);
  await requireQueue(tx, { runtime: runsIn.ref, selector: fields.workerSelector ?? stored.workerSelector });
  await updateRow(tx, "action", { id: stored.id, fields: { ...fields, runtimeId: runsIn.id } });
  return { id: stored.id };
}

/** Deletes an action that was created by hand; its executions keep its ref. Throws NotFoundError, ForbiddenError, ConflictError. */
export async function deleteAction(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const { id, isAdhoc } = await lockRow(tx, session, { of: "action", doing: "delete", which: { ref } });
  if (!isAdhoc) throw new ConflictError(ownSentence(ref, "it is deleted with its pack; disable it instead"));
  await deleteRow(tx, "action", id);
  return { id, ref };
}

const ownSentence = (ref: string, instead: string) => `The action "${ref}" comes from its pack's files: ${instead}.`;

async function findStoredRuntime({ db }: Tx, { ref, runtimeId }: Row<"action">): Promise<Row<"runtime">> {
  const [found] = runtimeId === null ? [] : await db.select().from(runtime).where(eq(runtime.id, runtimeId));
  if (!found) throw new ConflictError(`The action "${ref}" has no runtime: name one.`);
  return found;
}

/** Throws InvalidInputError for parameters that the format cannot carry. */
function requireFormat({ parameterFormat, paramSchema }: Pick<ActionFields, "parameterFormat" | "paramSchema">): void {
  const unfit = parameterFormat === "dotenv" ? namesUnfitForDotenv(paramSchema) : [];
  if (unfit.length === 0) return;
  throw new InvalidInputError(unfit.map((name) => ({ path: `paramSchema.${name}`, message: unfitForDotenv })));
}

/** Actions whose behaviour depends on their ref, so that no other action can run their entry points. */
const singular = ["core.inquire", "core.shell"];

interface Runnable {
  packId: bigint | null;
  runsIn: Row<"runtime">;
  entrypoint: string;
}

/**
 * Requires that an action of a pack's files runs the entry point in that runtime: a built-in one, or one of the same pack. The session
 * must be allowed to execute that action; actions that it may not know of are ignored.
 */
async function requireRunnable(db: Db, session: Session, runnable: Runnable): Promise<void> {
  const { packId, runsIn, entrypoint } = runnable;
  if (runsIn.runtimeType !== "action") throw invalid("runtime", "must be a runtime of actions");
  if (runsIn.ref === "core.action.container") {
    throw invalid("runtime", "must be another one: only the files of packs define containers");
  }
  if (runsIn.ref === "core.action.pack") throw invalid("runtime", "must be another one: it only runs tests of packs");
  const actions = await rows<{ ref: string; entrypoint: string }>(
    db,
    sql`select ref, entrypoint from attune.action where runtime = ${String(runsIn.id)}::bigint and not is_adhoc
        and (${runsIn.ref} = 'core.action.builtin' or pack = ${packId === null ? null : String(packId)}::bigint)
      order by ref`,
  );
  const isHidden = ({ ref }: { ref: string }) =>
    singular.includes(ref) || !mayKnow(session, "action", "execute", targetOf(ref));
  const hidden = new Set(actions.filter(isHidden).map((each) => each.entrypoint));
  const possible = [...new Set(actions.map((each) => each.entrypoint))].filter((each) => !hidden.has(each));
  if (!possible.includes(entrypoint)) throw invalid("entrypoint", impossible(runnable, possible));
  for (const { ref } of actions.filter((each) => each.entrypoint === entrypoint)) {
    authorize(session, "action", "execute", targetOf(ref));
  }
}

function impossible({ runsIn: { ref }, entrypoint }: Runnable, possible: readonly string[]): string {
  if (possible.length === 0) {
    return `cannot be run in ${ref} by an action created by hand in this pack, whose files have no action for it; use core.action.builtin`;
  }
  const among = possible.slice(0, 20).join(", ");
  return `must be the entry point of an action of the pack's files in ${ref}, one of ${among}${didYouMean(entrypoint, possible)}`;
}

/**
 * SQL: the schemas that decide which parameters of the action `a` (in the runtime `rt`) take secrets, as a JSON list. An action created
 * by hand also needs the consent of the pack's actions whose entry point it runs: otherwise it could pass a secret as an exit code.
 */
export const secretSchemasJson: SQL = sql.raw(`case when a.is_adhoc then jsonb_build_array(a.param_schema) || coalesce(
    (select jsonb_agg(b.param_schema) from attune.action b where not b.is_adhoc and b.runtime = a.runtime
      and b.entrypoint = a.entrypoint and (rt.ref = 'core.action.builtin' or b.pack = a.pack)), '[null]')
  else jsonb_build_array(a.param_schema) end`);
