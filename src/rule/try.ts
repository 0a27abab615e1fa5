import { sql } from "drizzle-orm";
import { findRow } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import { ConflictError, invalid } from "../errors.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { checkPayload } from "../schema/payload.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { type Explanation, explainRule } from "./explain.ts";
import { type PendingEvent, previewParameters } from "./match.ts";
import { checkRule } from "./rule.ts";
import { compileDraft } from "./ruleset.ts";

/** A rule with other contents, and what to test it with: a stored event, or a payload of its trigger. */
export interface RuleTest {
  rule: string;
  condition?: "any" | "all" | null;
  conditions?: Json[] | null;
  actionParams?: JsonObject | null;
  event: bigint | null;
  /** Undefined: the event has it. */
  payload: Json | undefined;
}

/** What the rule would do. */
export interface RuleTestResult extends Explanation {
  /** Those that its action would start with; null when it does not match, or would start nothing. */
  parameters: JsonObject | null;
  /** Why its action would not start although the rule matches. */
  parametersError: string | null;
}

/**
 * Returns what a rule would do for an event, as it is stored or with other contents, by the code that decides for real events. Changes
 * nothing and reads no key. The session must be allowed to change the rule so. Throws NotFoundError, ForbiddenError, InvalidInputError.
 */
export async function testRule(db: Db, session: Session, input: RuleTest): Promise<RuleTestResult> {
  if ((input.event === null) === (input.payload === undefined)) {
    throw invalid("event", "must be given, or else payload: one of the two");
  }
  const stored = await findRow(db, session, { of: "rule", doing: "update", which: { ref: input.rule } });
  const draft = await checkDraft(db, session, stored, input);
  const event = await findSubject(db, session, input, stored.triggerRef);
  const rule = await compileDraft(db, stored.id, draft);
  if (rule === null) throw new ConflictError(`The rule "${input.rule}" was deleted meanwhile.`);
  const { condition, conditions, window } = rule;
  const of = { id: stored.id, triggerRef: stored.triggerRef, condition, conditions, window };
  const ruleId = event.rule === null ? null : BigInt(event.rule);
  const explanation = await explainRule(of, { ...event, ruleId });
  if (!explanation.matches) return { ...explanation, parameters: null, parametersError: null };
  const { parameters, error } = previewParameters({ rule, event });
  return { ...explanation, parameters, parametersError: error };
}

type StoredRule = Awaited<ReturnType<typeof findRow<"rule">>>;

/** Returns the contents to test with. Others than the stored ones are checked as if they were saved. */
export async function checkDraft(
  db: Db,
  session: Session,
  stored: StoredRule,
  { condition, conditions, actionParams }: Pick<RuleTest, "condition" | "conditions" | "actionParams">,
) {
  const given = { condition: condition ?? null, conditions: conditions ?? null, actionParams: actionParams ?? null };
  const changes = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
  if (Object.keys(changes).length === 0) return {};
  const checked = await checkRule(db, session, { ...stored, ...changes });
  return { condition: checked.condition, conditions: checked.conditions as Json[], actionParams: checked.actionParams };
}

async function findSubject(
  db: Db,
  session: Session,
  { event: id, payload = null }: RuleTest,
  triggerRef: string,
): Promise<PendingEvent> {
  const common = { trigger: null, traceContext: null, rulesRevision: null, now: new Date().toISOString() };
  if (id !== null) {
    const event = await findRow(db, session, { of: "event", doing: "read", which: { id } });
    return {
      ...common,
      ...{ id: String(event.id), triggerRef: event.triggerRef, payload: event.payload, traceTag: event.traceTag },
      ...{ rule: event.ruleId === null ? null : String(event.ruleId), generation: event.generation },
      created: event.created.toISOString(),
    };
  }
  const [trigger] = await rows<{ outSchema: ParameterMap | null }>(
    db,
    sql`select out_schema as "outSchema" from attune.trigger where ref = ${triggerRef}`,
  );
  checkPayload({ ref: triggerRef, outSchema: trigger?.outSchema ?? null }, payload);
  return {
    ...common,
    ...{ id: "0", triggerRef, payload, rule: null, traceTag: "test", generation: 0, created: common.now },
  };
}
