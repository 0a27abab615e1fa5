import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorize, authorizeFound, may, targetOf } from "../access/grants.ts";
import { identityOf, type Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, InvalidInputError, type Issue, NotFoundError } from "../errors.ts";
import { requireHeldSets } from "../execution/action.ts";
import { normaliseConditions } from "../lang/criteria.ts";
import { compileTemplates } from "../lang/template.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkInput, componentRef } from "../schema/input.ts";
import { compileParameters, type ParameterMap } from "../schema/schema.ts";
import { storableJson } from "../schema/storable.ts";
import { requireKeys } from "./authority.ts";
import { checkActionParams } from "./parameters.ts";
import { intervalSeconds, intervalTimer, syncTimer } from "./timer.ts";

/** What people may say of a rule; null or absent leaves the default (or, in an update, what is stored). */
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
}

/** A rule, whole. */
interface RuleDefinition {
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
}

const texts = z.object({ label: z.string().min(1).max(200), description: z.string().max(10_000).nullable() });

/**
 * Makes a rule in the pack that its ref names. Throws InvalidInputError (each fault at its path), NotFoundError (pack, trigger
 * or action), ConflictError (the ref is taken).
 */
export async function createRule(
  tx: Tx,
  session: Session,
  input: RuleFields & { ref: string; action: string; trigger: string },
): Promise<{ id: bigint }> {
  const ref = checkInput(componentRef, input.ref, "ref");
  const packRef = ref.slice(0, ref.indexOf("."));
  authorize(session, "rule", "create", targetOf(ref, session.identityId));
  const [pack] = await rows<{ id: string }>(tx.db, sql`select id::text from attune.pack where ref = ${packRef}`);
  if (!pack) throw new NotFoundError("pack", packRef);
  const definition = merge(
    {
      label: ref,
      description: null,
      actionRef: input.action,
      triggerRef: input.trigger,
      condition: "all",
      conditions: [],
      actionParams: {},
      triggerParams: {},
      enabled: true,
      recordEvaluations: "near",
    },
    input,
  );
  requireReach(session, definition);
  const checked = await checkRule(tx.db, session, definition);
  const [rule] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.rule (ref, pack, pack_ref, is_adhoc, owner, label, description, action, action_ref, trigger,
          trigger_ref, condition, conditions, action_params, trigger_params, enabled, record_evaluations)
        values (${ref}, ${pack.id}::bigint, ${packRef}, true, ${identityOf(session)}::bigint, ${checked.label},
          ${checked.description}, ${checked.action}::bigint, ${checked.actionRef}, ${checked.trigger}::bigint,
          ${checked.triggerRef}, ${checked.condition}, ${checked.conditions}::text::jsonb,
          ${checked.actionParams}::text::jsonb, ${checked.triggerParams}::text::jsonb, ${checked.enabled},
          ${checked.recordEvaluations})
        on conflict (ref) do nothing returning id::text`,
  );
  if (!rule) throw new ConflictError(`There is a rule "${ref}" already.`);
  await syncTimer(tx, rule);
  return { id: BigInt(rule.id) };
}

/**
 * Changes what the patch names and leaves the rest; whoever changes a rule owns it from then on, for it runs with its owner's
 * grants. Throws NotFoundError, InvalidInputError, and ConflictError when
 * `expectedUpdated` is given and the rule has changed since.
 */
export async function updateRule(
  tx: Tx,
  session: Session,
  input: { ref: string; expectedUpdated: Date | null; patch: RuleFields },
): Promise<{ id: bigint }> {
  const stored = await lockRule(tx, session, { ref: input.ref, action: "update" });
  if (input.expectedUpdated && input.expectedUpdated.getTime() !== new Date(stored.updated).getTime()) {
    throw new ConflictError(`The rule "${input.ref}" was changed at ${stored.updated}: read it again.`);
  }
  const given = Object.values(input.patch).filter((value) => value !== null && value !== undefined);
  if (given.length === 0) return { id: BigInt(stored.id) };
  requireAdhoc(stored, "only whether it is enabled can be changed");
  const definition = merge(stored.definition, input.patch);
  requireReach(session, definition);
  const checked = await checkRule(tx.db, session, definition);
  await tx.db.execute(
    sql`update attune.rule set owner = ${identityOf(session)}::bigint, label = ${checked.label}, description = ${checked.description},
          action = ${checked.action}::bigint, action_ref = ${checked.actionRef}, trigger = ${checked.trigger}::bigint,
          trigger_ref = ${checked.triggerRef}, condition = ${checked.condition},
          conditions = ${checked.conditions}::text::jsonb, action_params = ${checked.actionParams}::text::jsonb,
          trigger_params = ${checked.triggerParams}::text::jsonb, enabled = ${checked.enabled},
          record_evaluations = ${checked.recordEvaluations}
        where id = ${stored.id}::bigint`,
  );
  await syncTimer(tx, stored);
  return { id: BigInt(stored.id) };
}

/** Switches a rule on or off; one that is in that state already stays as it is. Throws NotFoundError. */
export async function setRuleEnabled(
  tx: Tx,
  session: Session,
  input: { ref: string; enabled: boolean },
): Promise<{ id: bigint }> {
  const stored = await lockRule(tx, session, { ref: input.ref, action: "update" });
  if (stored.definition.enabled !== input.enabled) {
    if (input.enabled) requireReach(session, stored.definition);
    await tx.db.execute(sql`update attune.rule set enabled = ${input.enabled} where id = ${stored.id}::bigint`);
    await syncTimer(tx, stored);
  }
  return { id: BigInt(stored.id) };
}

/** Deletes a rule; what it did keeps the ref's text. Throws NotFoundError. */
export async function deleteRule(
  tx: Tx,
  session: Session,
  input: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const stored = await lockRule(tx, session, { ref: input.ref, action: "delete" });
  requireAdhoc(stored, "it is deleted with its pack; disable it instead");
  await tx.db.execute(sql`delete from attune.rule where id = ${stored.id}::bigint`);
  return { id: BigInt(stored.id), ref: input.ref };
}

/** What a rule connects must be within its author's reach: a rule shows its trigger's events to its action, and runs it. */
function requireReach(session: Session, { actionRef, triggerRef }: RuleDefinition): void {
  if (!may(session, "trigger", "read", targetOf(triggerRef))) throw new NotFoundError("trigger", triggerRef);
  authorize(session, "action", "execute", targetOf(actionRef));
}

/** A rule of a pack's files belongs to nobody and runs with the pack's rights: what it does is not for people to change. */
function requireAdhoc({ ref, isAdhoc }: StoredRule, instead: string): void {
  if (!isAdhoc) throw new ConflictError(`The rule "${ref}" comes from its pack's files: ${instead}.`);
}

interface StoredRule {
  id: string;
  ref: string;
  isAdhoc: boolean;
  updated: string;
  definition: RuleDefinition;
}

/** The rule, locked. Throws NotFoundError also where the session may not know of it, ForbiddenError. */
async function lockRule(
  tx: Tx,
  session: Session,
  { ref, action }: { ref: string; action: "update" | "delete" },
): Promise<StoredRule> {
  const [rule] = await rows<StoredRule & { owner: string | null }>(
    tx.db,
    sql`select id::text, ref, is_adhoc as "isAdhoc", owner::text, to_char(updated at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as updated,
        jsonb_build_object('label', label, 'description', description, 'actionRef', action_ref, 'triggerRef', trigger_ref,
          'condition', condition, 'conditions', conditions, 'actionParams', action_params, 'triggerParams', trigger_params,
          'enabled', enabled, 'recordEvaluations', record_evaluations) as definition
      from attune.rule where ref = ${ref} for update`,
  );
  const target = targetOf(ref, rule?.owner ? BigInt(rule.owner) : null);
  if (!rule) throw new NotFoundError("rule", ref);
  authorizeFound(session, action, { resource: "rule", id: ref, target });
  return rule;
}

function merge(base: RuleDefinition, patch: RuleFields): RuleDefinition {
  const { action, trigger, ...rest } = patch;
  const fields = { ...rest, actionRef: action, triggerRef: trigger };
  const given = Object.entries(fields).filter(([name, value]) => value !== null && value !== undefined && name in base);
  return { ...base, ...Object.fromEntries(given) };
}

interface CheckedRule extends Omit<RuleDefinition, "conditions" | "actionParams" | "triggerParams"> {
  action: string;
  trigger: string;
  /** JSON text. */
  conditions: string;
  actionParams: string;
  triggerParams: string;
}

async function checkRule(db: Db, session: Session, rule: RuleDefinition): Promise<CheckedRule> {
  const [found] = await rows<{ action: RuleAction | null; trigger: Target | null }>(
    db,
    sql`select (select jsonb_build_object('id', id::text, 'paramSchema', param_schema, 'permissionSetRefs', permission_set_refs) from attune.action where ref = ${rule.actionRef}) as action,
      (select jsonb_build_object('id', id::text, 'paramSchema', param_schema) from attune.trigger where ref = ${rule.triggerRef}) as trigger`,
  );
  if (!found?.action) throw new NotFoundError("action", rule.actionRef);
  if (!found.trigger) throw new NotFoundError("trigger", rule.triggerRef);
  const { action, trigger } = found;
  await requireHeldSets(db, session, action.permissionSetRefs);
  const [, conditions, actionParams, triggerParams] = allOf(
    () => checkInput(texts, { label: rule.label, description: rule.description }),
    () => storableJson(normaliseConditions(rule.conditions, "conditions"), "conditions"),
    () => {
      const { names } = compileTemplates(rule.actionParams, "actionParams");
      checkActionParams(rule, action.paramSchema);
      return { keys: names, json: storableJson(rule.actionParams, "actionParams") };
    },
    () => {
      const params = compileParameters(trigger.paramSchema ?? {})(rule.triggerParams, "triggerParams");
      if (rule.triggerRef === intervalTimer) intervalSeconds(params);
      return storableJson(params, "triggerParams");
    },
  );
  await requireKeys(db, session, actionParams.keys);
  return {
    ...rule,
    action: action.id,
    trigger: trigger.id,
    conditions,
    actionParams: actionParams.json,
    triggerParams,
  };
}

/** Makes every check, so that all their faults come together; the results, where there is no fault. */
function allOf<T extends readonly unknown[]>(...checks: { [K in keyof T]: () => T[K] }): T {
  const issues: Issue[] = [];
  const results = checks.map((check) => {
    try {
      return check();
    } catch (error) {
      if (!(error instanceof InvalidInputError)) throw error;
      issues.push(...error.issues);
      return null;
    }
  });
  if (issues.length > 0) throw new InvalidInputError(issues);
  return results as unknown as T; // without an issue every check has answered
}

interface RuleAction extends Target {
  permissionSetRefs: string[];
}

interface Target {
  id: string;
  paramSchema: ParameterMap | null;
}
