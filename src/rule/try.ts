import { sql } from "drizzle-orm";
import { findRow } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import { invalid } from "../errors.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { checkPayload } from "../schema/payload.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { compileTried, type Tried } from "./draft.ts";
import { type Explanation, explainRule } from "./explain.ts";
import { type PendingEvent, previewParameters } from "./match.ts";

/** A rule, and what to test it with: a stored event, or a payload of its trigger. */
export interface RuleTest extends Tried {
  event: bigint | null;
  /** Undefined: the event has it. */
  payload: Json | undefined;
  /** When the event with the payload happens; null: now. */
  at: Date | null;
}

/** What the rule would do. */
export interface RuleTestResult extends Explanation {
  /** Those that its action would start with; null when it does not match, or would start nothing. */
  parameters: JsonObject | null;
  /** Why its action would not start although the rule matches. */
  parametersError: string | null;
}

/** In place of the id of a rule that does not exist. */
const noRule = 0n;

/**
 * Returns what a rule would do for an event, as it is stored, with other contents, or as a draft, by the code that decides for real events. Changes
 * nothing and reads no key. The session must be allowed to change or create the rule so. Throws NotFoundError, ForbiddenError, InvalidInputError.
 */
export async function testRule(db: Db, session: Session, input: RuleTest): Promise<RuleTestResult> {
  if ((input.event === null) === (input.payload === undefined)) {
    throw invalid("event", "must be given, or else payload: one of the two");
  }
  if (input.event !== null && input.at !== null) throw invalid("at", "must be left out: the event has its time");
  const { id, triggerRef, rule, others } = await compileTried(db, session, input);
  const event = await findSubject(db, session, input, triggerRef);
  const ruleId = event.rule === null ? null : BigInt(event.rule);
  const explanation = await explainRule({ ...rule, id: id ?? noRule, triggerRef }, { ...event, ruleId }, others);
  if (!explanation.matches) return { ...explanation, parameters: null, parametersError: null };
  const { parameters, error } = previewParameters({ rule, event });
  return { ...explanation, parameters, parametersError: error };
}

async function findSubject(
  db: Db,
  session: Session,
  { event: id, payload = null, at }: RuleTest,
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
    ...{ id: "0", triggerRef, payload, rule: null, traceTag: "test", generation: 0 },
    created: at?.toISOString() ?? common.now,
  };
}
