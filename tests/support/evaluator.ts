import { sql } from "drizzle-orm";
import { enforceEvents } from "../../src/executor/events.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { createRuleSets, type RuleSets } from "../../src/rule/ruleset.ts";
import type { World } from "./world.ts";

/** What one rule made of an event. */
interface Enforced {
  rule: string;
  status: string;
  config: JsonObject | null;
  error: { code: string; message: string } | null;
  execution: string | null;
  executionStatus: string | null;
  executionConfig: JsonObject | null;
}

/** An executor's part done by hand, and looks at what came of it. */
export interface Evaluator {
  /** One cache for all evaluations, as in an executor: what a test changes, the next evaluation must see. */
  ruleSets: RuleSets;
  /** Evaluates what waits, until nothing does. */
  evaluate(): Promise<void>;
  /** What came of an event, by rule. */
  enforced(event: string): Promise<Enforced[]>;
  event(id: string): Promise<{ evaluated: boolean; skipped: string | null; tries: number; payload: Json }>;
  jobs(queue: string): Promise<{ entity: string }[]>;
}

/** Evaluates the world's events when it is told to. */
export function createEvaluator(world: World): Evaluator {
  const ruleSets = createRuleSets();
  return {
    ruleSets,
    evaluate: async () => {
      while ((await enforceEvents(world.services, ruleSets, 100)) > 0);
    },
    enforced: (event) =>
      world.all(
        sql`select f.rule_ref as "rule", f.status as "status", f.config as "config", f.error as "error", x.id::text as "execution",
            x.status as "executionStatus", x.config as "executionConfig"
          from attune.enforcement f left join attune.execution x on x.enforcement = f.id
          where f.event = ${event}::bigint order by f.rule_ref`,
      ),
    event: (id) =>
      world.one(
        sql`select evaluated_at is not null as evaluated, skipped, tries, payload from attune.event where id = ${id}::bigint`,
      ),
    jobs: (queue) =>
      world.all(
        sql`select data ->> 'entity' as entity from attune_jobs.job where name = ${queue} order by created_on, id`,
      ),
  };
}

/** The criterion that a field has a value. */
export const is = (field: string, value: Json) => [{ field, operator: "equals", value }];
