import { sql } from "drizzle-orm";
import { enforceEvents } from "../../src/executor/events.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { createRuleSets, type RuleSets } from "../../src/rule/ruleset.ts";
import type { World } from "./world.ts";

/** One rule's enforcement of an event, with its execution. */
interface Enforced {
  rule: string;
  status: string;
  config: JsonObject | null;
  error: { code: string; message: string } | null;
  execution: string | null;
  executionStatus: string | null;
  executionConfig: JsonObject | null;
}

/** Evaluates events without an executor, and reads the results. */
export interface Evaluator {
  /** One cache for all evaluations, as in an executor: the next evaluation must see what a test changes. */
  ruleSets: RuleSets;
  /** Evaluates until no event waits. */
  evaluate(): Promise<void>;
  /** The enforcements of an event, by rule. */
  enforced(event: string): Promise<Enforced[]>;
  event(id: string): Promise<{ evaluated: boolean; skipped: string | null; tries: number; payload: Json }>;
  jobs(queue: string): Promise<{ entity: string }[]>;
  /** The ids of the events that are to be evaluated, in their order. */
  pending(): Promise<string[]>;
}

/** Creates an evaluator of the world's events. */
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
    pending: async () =>
      (await world.all<{ id: string }>(sql`select event::text as id from attune.pending_event order by event`)).map(
        ({ id }) => id,
      ),
  };
}

/** Returns the criterion that a field equals a value. */
export const is = (field: string, value: Json) => [{ field, operator: "equals", value }];
