import { sql } from "drizzle-orm";
import type { WindowDefinition } from "../catalog/window.ts";
import { anyOf, type Db, rows } from "../db/client.ts";
import type { Hold } from "../db/tables/event.ts";
import type { CriterionOutcome } from "../lang/criteria.ts";
import { compileJudge, type Judge } from "./judge.ts";
import { inShares } from "./shares.ts";
import type { EventSubject, WindowKey } from "./window.ts";

/** A rule whose window waits for events of a trigger. */
export interface AnsweredRule {
  id: string;
  ref: string;
  revision: number;
  judge: Judge;
}

/** How an event answers a rule, or why that could not be evaluated. */
export interface Answer {
  rule: AnsweredRule;
  event: EventSubject;
  detail: CriterionOutcome[];
  hold: { held: Hold; key: WindowKey } | null;
}

interface Found {
  trigger: string;
  id: string;
  ref: string;
  revision: number;
  window: WindowDefinition;
}

/** SQL: whether events of the trigger `t` answer those of the rule `r`. */
export const isAnsweredBy = sql`r."window" ? 'absence' and coalesce(r."window" #>> '{absence,of,trigger}', r.trigger_ref) = t.ref`;

/** Returns the enabled rules that wait for events of the triggers, compiled, by trigger. */
export async function readAnswered(db: Db, triggers: readonly string[]): Promise<Map<string, AnsweredRule[]>> {
  const found = await rows<Found>(
    db,
    sql`select t.id::text as trigger, r.id::text, r.ref, r.revision, r."window"
      from attune.trigger t join attune.rule r on ${isAnsweredBy}
      where t.id = ${anyOf(triggers)} and r.enabled order by r.ref`,
  );
  const byTrigger = new Map<string, AnsweredRule[]>(triggers.map((trigger) => [trigger, []]));
  for (const each of found) byTrigger.get(each.trigger)?.push(compile(each));
  return byTrigger;
}

function compile({ id, ref, revision, window }: Found): AnsweredRule {
  const of = window.absence?.of ?? { condition: "all", conditions: [] };
  return {
    id,
    ref,
    revision,
    judge: compileJudge({ ...of, key: of.key ?? window.key, isHeld: true, activeHours: null }).judge,
  };
}

/** Evaluates which rules, of `part` if it is given, the event answers. */
export async function findAnswers(
  event: EventSubject & { rule: string | null },
  rules: readonly AnsweredRule[],
  part: ReadonlySet<string> | null,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  const those = rules.filter(({ id }) => (event.rule === null || event.rule === id) && part?.has(id) !== false);
  await inShares(
    those,
    (rule, meter) => rule.judge(event, meter),
    (rule, { key, criteria }) => {
      if (key !== null) answers.push({ rule, event, detail: criteria, hold: { held: "answer", key } });
      else if (criteria.some(({ error }) => error !== null))
        answers.push({ rule, event, detail: criteria, hold: null });
    },
  );
  return answers;
}
