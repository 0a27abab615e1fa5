import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorizeFound, targetOf } from "../access/grants.ts";
import { requireHeldSets } from "../access/permission.ts";
import { findPackForNew } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { secretSchemasJson } from "../catalog/action.ts";
import { executionPriority } from "../catalog/active-hours.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkNew, description, label } from "../schema/fields.ts";
import { checkInput, componentRef } from "../schema/input.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { requireEvents, requireKeys } from "./authority.ts";
import { checkContents, runChecks } from "./check.ts";
import { readsEvents } from "./parameters.ts";
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
  backstop?: boolean | null;
  activeHours?: unknown;
  executionPriority?: number | null;
}

/** All fields of a rule. */
export interface RuleDefinition {
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
  backstop: boolean;
  activeHours: unknown;
  executionPriority: number;
}

const texts = z.object({ label, description: description.nullable() });
/** Anything but null: `checkRule` checks it together with the other fields. */
const checkedLater = <T>() => z.custom<T>((value) => value !== null);
/** The fields of a change. */
export const ruleFields = z
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
    backstop: z.boolean(),
    activeHours: z.unknown(),
    executionPriority,
  })
  .partial();
const newRule = ruleFields.extend({
  ref: componentRef,
  action: ruleFields.shape.action.unwrap(),
  trigger: ruleFields.shape.trigger.unwrap(),
});

/** What a rule that does not exist consists of: its ref, what it must name, and its fields. */
export type NewRule = RuleFields & { ref: string; action: string; trigger: string };

/**
 * Checks a rule that is to be created, and returns its columns and its pack. Throws InvalidInputError (each issue with its path), NotFoundError (pack,
 * trigger, action, permission set, key), ForbiddenError.
 */
export async function checkNewRule(tx: Pick<Tx, "db">, session: Session, input: NewRule) {
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
    backstop: false,
    activeHours: null,
    executionPriority: 0,
    ...fields,
  });
  const ownership = { ref, packId: pack.id, packRef: pack.ref, isAdhoc: true, ownerId: session.identityId };
  return { ...columns, ...ownership };
}

/**
 * Requires that the session may read the trigger and execute the action, because a rule passes events of the one to the other.
 * Returns both. Throws NotFoundError and ForbiddenError.
 */
export function requireReach<A, T>(
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
  const [, { conditions, keys, triggerParams, window, maxStarts, activeHours }] = runChecks(
    () => checkInput(texts, { label: rule.label, description: rule.description }),
    () => checkContents(rule, { action, trigger, settings: found?.settings ?? {} }),
  );
  const { backstop, actionParams } = rule;
  if (readsEvents({ conditions, actionParams, window, backstop })) requireEvents(session, rule.triggerRef);
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
    actionParams,
    triggerParams,
    enabled: rule.enabled,
    recordEvaluations: rule.recordEvaluations,
    window: asColumn(window),
    maxStarts: asColumn(maxStarts),
    backstop,
    activeHours: asColumn(activeHours),
    executionPriority: rule.executionPriority,
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
