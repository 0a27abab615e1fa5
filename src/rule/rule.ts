import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorizeFound, targetOf } from "../access/grants.ts";
import { requireHeldSets } from "../access/permission.ts";
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
import { secretSchemasJson } from "../catalog/action.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkNew, checkPatch, description, label } from "../schema/fields.ts";
import { checkInput, componentRef } from "../schema/input.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { requireEvents, requireKeys } from "./authority.ts";
import { checkContents, runChecks } from "./check.ts";
import { readsEvents } from "./parameters.ts";
import { syncTimer } from "./timer.ts";
import { answerTrigger, asColumn } from "./window.ts";

/** The fields of a rule that users set. A missing field has its default or, in an update, is unchanged. */
export interface RuleFields {
  label?: string | null;
  description?: string | null;
  action?: string | null;
  trigger?: string | null;
  condition?: "any" | "all" | null;
  conditions?: unknown;
  actionParams?: JsonObject | null;
  triggerParams?: JsonObject | null;
  enabled?: boolean | null;
  recordEvaluations?: "none" | "near" | "all" | null;
  window?: unknown;
  maxStarts?: unknown;
}

/** All fields of a rule. */
interface RuleDefinition {
  packRef: string;
  label: string;
  description: string | null;
  actionRef: string;
  triggerRef: string;
  condition: "any" | "all";
  conditions: unknown;
  actionParams: JsonObject;
  triggerParams: JsonObject;
  enabled: boolean;
  recordEvaluations: "none" | "near" | "all";
  window: unknown;
  maxStarts: unknown;
}

const texts = z.object({ label, description: description.nullable() });
/** Anything but null: `checkRule` checks it together with the other fields. */
const checkedLater = <T>() => z.custom<T>((value) => value !== null);
const ruleFields = z
  .object({
    label: z.string(),
    description: z.string().nullable(),
    action: z.string().max(200),
    trigger: z.string().max(200),
    condition: z.enum(["any", "all"]),
    conditions: checkedLater<unknown>(),
    actionParams: checkedLater<JsonObject>(),
    triggerParams: checkedLater<JsonObject>(),
    enabled: z.boolean(),
    recordEvaluations: z.enum(["none", "near", "all"]),
    window: z.unknown(),
    maxStarts: z.unknown(),
  })
  .partial();
const newRule = ruleFields.extend({
  ref: componentRef,
  action: ruleFields.shape.action.unwrap(),
  trigger: ruleFields.shape.trigger.unwrap(),
});

/**
 * Creates a rule in the pack of its ref. Throws InvalidInputError (each issue with its path), NotFoundError (pack, trigger, action,
 * permission set, key), ForbiddenError, ConflictError (the ref is taken).
 */
export async function createRule(
  tx: Tx,
  session: Session,
  input: RuleFields & { ref: string; action: string; trigger: string },
): Promise<{ id: bigint }> {
  const { ref, action, trigger, ...fields } = checkNew(newRule, input);
  const pack = await findPackForNew(tx, session, { of: "rule", ref, ownerId: session.identityId });
  const columns = await checkRule(tx.db, session, {
    packRef: pack.ref,
    label: ref,
    description: null,
    actionRef: action,
    triggerRef: trigger,
    condition: "all",
    conditions: [],
    actionParams: {},
    triggerParams: {},
    enabled: true,
    recordEvaluations: "near",
    window: null,
    maxStarts: null,
    ...fields,
  });
  const ownership = { ref, packId: pack.id, packRef: pack.ref, isAdhoc: true, ownerId: session.identityId };
  const { id } = await insertRow(tx, "rule", { ...columns, ...ownership });
  await syncTimer(tx, { id: String(id) });
  return { id };
}

/**
 * Changes the fields in the patch. The session's identity becomes the rule's owner, because a rule runs with its owner's grants.
 * Throws NotFoundError, InvalidInputError, ForbiddenError, and ConflictError for a rule of a pack's files and when it has changed
 * since `expectedUpdated`.
 */
export async function updateRule(
  tx: Tx,
  session: Session,
  input: Which<"rule"> & { patch: RuleFields },
): Promise<{ id: bigint }> {
  const patch = checkPatch(ruleFields, input.patch);
  const stored = await lockRow(tx, session, { of: "rule", doing: "update", which: input });
  if (isEmpty(patch)) return { id: stored.id };
  requireAdhoc(stored, "it can only be enabled or disabled");
  const { action: actionRef = stored.actionRef, trigger: triggerRef = stored.triggerRef, ...fields } = patch;
  const columns = await checkRule(tx.db, session, { ...stored, ...fields, actionRef, triggerRef });
  await updateRow(tx, "rule", { id: stored.id, fields: { ...columns, ownerId: session.identityId } });
  await syncTimer(tx, { id: String(stored.id) });
  return { id: stored.id };
}

/**
 * Enables or disables a rule; does nothing when it already is. Throws NotFoundError, ForbiddenError, and ConflictError when it cannot be
 * enabled because its action or its trigger does not exist.
 */
export async function setRuleEnabled(
  tx: Tx,
  session: Session,
  input: { ref: string; enabled: boolean },
): Promise<{ id: bigint }> {
  const stored = await lockRow(tx, session, { of: "rule", doing: "update", which: { ref: input.ref } });
  const { id, enabled } = stored;
  if (enabled !== input.enabled) {
    if (input.enabled) {
      requireReach(session, stored, { action: stored, trigger: stored });
      requireTargets(stored);
    }
    await updateRow(tx, "rule", { id, fields: { enabled: input.enabled } });
    await syncTimer(tx, { id: String(id) }, { mayHavePassed: true });
  }
  return { id };
}

/**
 * Lets a rule that has tripped start its action again at once; with `windows`, its windows also forget what they know. Throws NotFoundError,
 * ForbiddenError.
 */
export async function resetRule(
  tx: Tx,
  session: Session,
  { ref, windows }: { ref: string; windows: boolean },
): Promise<{ id: bigint }> {
  const { id } = await lockRow(tx, session, { of: "rule", doing: "update", which: { ref } });
  await tx.db.execute(sql`delete from attune.rule_budget where rule = ${String(id)}::bigint`);
  if (windows) await tx.db.execute(sql`delete from attune.rule_window where rule = ${String(id)}::bigint`);
  return { id };
}

/** Deletes a rule; its enforcements and executions keep its ref. Throws NotFoundError, ForbiddenError, ConflictError (a pack's file). */
export async function deleteRule(
  tx: Tx,
  session: Session,
  input: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const stored = await lockRow(tx, session, { of: "rule", doing: "delete", which: input });
  requireAdhoc(stored, "it is deleted with its pack; disable it instead");
  await deleteRow(tx, "rule", stored.id);
  return { id: stored.id, ref: input.ref };
}

/**
 * Requires that the session may read the trigger and execute the action, because a rule passes events of the one to the other.
 * Returns both. Throws NotFoundError and ForbiddenError.
 */
function requireReach<A, T>(
  session: Session,
  { actionRef, triggerRef }: { actionRef: string; triggerRef: string },
  { action, trigger }: { action: A | null; trigger: T | null },
): { action: A; trigger: T } {
  const target = () => targetOf(actionRef);
  return {
    action: authorizeFound(session, "execute", action, { resource: "action", name: actionRef, target }),
    trigger: requireReadable(session, triggerRef, trigger),
  };
}

function requireReadable<T>(session: Session, name: string, trigger: T | null): T {
  return authorizeFound(session, "read", trigger, { resource: "trigger", name, target: () => targetOf(name) });
}

/** A rule keeps the refs of what was deleted, and is bound again when that comes back. */
function requireTargets({ ref, actionId, actionRef, triggerId, triggerRef }: Row<"rule">): void {
  const missing = [
    ...(actionId === null ? [`its action "${actionRef}"`] : []),
    ...(triggerId === null ? [`its trigger "${triggerRef}"`] : []),
  ];
  if (missing.length === 0) return;
  throw new ConflictError(
    `The rule "${ref}" cannot be enabled, because ${missing.join(" and ")} no longer exist${missing.length === 1 ? "s" : ""}: create what is missing again, or change the rule.`,
  );
}

/** A rule of a pack's files has no owner and runs with the pack's permissions: only the files may change it. */
function requireAdhoc({ ref, isAdhoc }: Row<"rule">, instead: string): void {
  if (!isAdhoc) throw new ConflictError(`The rule "${ref}" comes from its pack's files: ${instead}.`);
}

/** Returns the columns of a rule, whose parts the session may all use. Throws InvalidInputError, NotFoundError, ForbiddenError. */
export async function checkRule(db: Db, session: Session, rule: RuleDefinition) {
  const answers = answerTrigger(rule);
  const [found] = await rows<{
    action: ActionRow | null;
    settings: ParameterMap | null;
    trigger: TriggerRow | null;
    answer: TriggerRow | null;
  }>(
    db,
    sql`select (select jsonb_build_object('id', a.id::text, 'paramSchema', a.param_schema, 'permissionSetRefs', a.permission_set_refs,
          'secretSchemas', ${secretSchemasJson})
        from attune.action a left join attune.runtime rt on rt.id = a.runtime where a.ref = ${rule.actionRef}) as action,
      (select conf_schema from attune.pack where ref = ${rule.packRef}) as settings,
      (select jsonb_build_object('id', id::text, 'paramSchema', param_schema) from attune.trigger where ref = ${rule.triggerRef}) as trigger,
      (select jsonb_build_object('id', id::text, 'paramSchema', null) from attune.trigger where ref = ${answers}) as answer`,
  );
  const { action, trigger } = requireReach(session, rule, found ?? { action: null, trigger: null });
  if (answers !== null) requireReadable(session, answers, found?.answer ?? null);
  await requireHeldSets(db, session, action.permissionSetRefs);
  const [, { conditions, keys, triggerParams, window, maxStarts }] = runChecks(
    () => checkInput(texts, { label: rule.label, description: rule.description }),
    () => checkContents(rule, { action, trigger, settings: found?.settings ?? {} }),
  );
  if (readsEvents({ conditions, actionParams: rule.actionParams, window })) requireEvents(session, rule.triggerRef);
  if (answers !== null) requireEvents(session, answers);
  await requireKeys(db, session, { packRef: rule.packRef, names: keys });
  return {
    label: rule.label,
    description: rule.description,
    actionId: BigInt(action.id),
    actionRef: rule.actionRef,
    triggerId: BigInt(trigger.id),
    triggerRef: rule.triggerRef,
    condition: rule.condition,
    conditions,
    actionParams: rule.actionParams,
    triggerParams,
    enabled: rule.enabled,
    recordEvaluations: rule.recordEvaluations,
    window: asColumn(window),
    maxStarts: asColumn(maxStarts),
  };
}

interface ActionRow extends TriggerRow {
  permissionSetRefs: string[];
  secretSchemas: (ParameterMap | null)[];
}

interface TriggerRow {
  id: string;
  paramSchema: ParameterMap | null;
}
