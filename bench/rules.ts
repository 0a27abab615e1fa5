import { sql } from "drizzle-orm";
import { createTrigger } from "../src/catalog/trigger.ts";
import { rows } from "../src/db/client.ts";
import { write } from "../src/db/tx.ts";
import { type EventTrigger, emitEvents, findTrigger } from "../src/event/record.ts";
import type { Json } from "../src/lib/json.ts";
import { enforceBatch } from "../src/rule/enforce.ts";
import { createRuleSets, type RuleSets } from "../src/rule/ruleset.ts";
import { commit } from "../tests/support/commit.ts";
import { ms } from "./report.ts";
import { options, runSection } from "./section.ts";
import type { Stage } from "./stage.ts";
import { percentile } from "./statistics.ts";

// Measures what an event costs by the number of rules on its trigger, and what the change of one rule costs the next event: `npm run bench:rules`,
// with `--quick` few rounds, with `--write` into docs/benchmarks.md. An event meets the conditions of exactly one rule.

const rounds = options.quick ? 40 : 300;
const changes = options.quick ? 5 : 30;
const counts = { few: 10, many: 10_000 };

/** The conditions of the rule n, as SQL: by two criteria that an index serves, or by one that each event is compared with. */
const kinds: Readonly<Record<string, string>> = {
  "two `equals`": `jsonb_build_array(jsonb_build_object('field', 'kind', 'operator', 'equals', 'value', 'push'),
    jsonb_build_object('field', 'repo', 'operator', 'equals', 'value', 'repo-' || n))`,
  "`startswith`": `jsonb_build_array(jsonb_build_object('field', 'path', 'operator', 'startswith', 'value', 'repo-' || n || '/'))`,
  "`gte` and `regex`, which no index serves": `jsonb_build_array(jsonb_build_object('field', 'size', 'operator', 'gte', 'value', 1),
    jsonb_build_object('field', 'repo', 'operator', 'regex', 'value', '^repo-' || n || '$'))`,
};

interface Cost {
  cpu: number;
  wall: number;
}

/** Evaluates one event that is stored now, and returns what the evaluation took in milliseconds. */
async function evaluate({ services }: Stage, sets: RuleSets, trigger: EventTrigger, payload: Json): Promise<Cost> {
  const event = {
    trigger,
    payload,
    config: null,
    source: null,
    rule: null,
    traceTag: null,
    cause: null,
    generation: 0,
  };
  await write(services, (tx) => emitEvents(tx, [event]));
  const [cpu, wall] = [process.cpuUsage(), performance.now()];
  const taken = await write(services, (tx) => enforceBatch(tx, sets, 1));
  const used = process.cpuUsage(cpu);
  if (taken !== 1) throw new Error("the event was not evaluated");
  return { cpu: (used.user + used.system) / 1000, wall: performance.now() - wall };
}

async function createRules(stage: Stage, ref: string, count: number, conditions: string): Promise<EventTrigger> {
  await commit(stage.services, createTrigger, stage.session, { ref });
  for (let from = 1; from <= count; from += 250) {
    await rows(
      stage.services.db,
      sql.raw(`insert into attune.rule (ref, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, conditions, owner)
        select '${ref}_' || n, o.pack, o.pack_ref, 'Rule ' || n, o.action, o.action_ref, t.id, t.ref, ${conditions}, o.owner
        from attune.rule o, attune.trigger t, generate_series(${from}, ${Math.min(count, from + 249)}) n
        where o.ref = 'default.bench' and t.ref = '${ref}' order by n`),
    );
  }
  const trigger = await findTrigger(stage.services.db, ref);
  if (!trigger) throw new Error("the trigger that was created is missing");
  return trigger;
}

const median = (costs: readonly Cost[], of: keyof Cost) =>
  percentile(
    costs.map((cost) => cost[of]),
    50,
  );

/** Measures one kind of conditions, by turns with few rules and with many. Returns the row of the table. */
async function measure(stage: Stage, database: string, kind: string, at: number): Promise<string[]> {
  const conditions = kinds[kind] ?? "";
  const few = await createRules(stage, `default.few${at}`, counts.few, conditions);
  const many = await createRules(stage, `default.many${at}`, counts.many, conditions);
  await rows(stage.services.db, sql.raw("analyze attune.rule"));
  const sets = createRuleSets();
  const payload = (n: number) => ({ kind: "push", repo: `repo-${n}`, path: `repo-${n}/main`, size: 7 });
  const costs = { few: [] as Cost[], many: [] as Cost[], first: [] as Cost[], change: [] as Cost[] };
  costs.first.push(await evaluate(stage, sets, many, payload(7)));
  for (let round = -20; round < rounds; round += 1) {
    const ofFew = await evaluate(stage, sets, few, payload(1 + ((round + 20) % counts.few)));
    const ofMany = await evaluate(stage, sets, many, payload(1 + (((round + 20) * 31) % counts.many)));
    if (round < 0) continue; // both are warm from here on
    costs.few.push(ofFew);
    costs.many.push(ofMany);
  }
  for (let round = 0; round < changes; round += 1) {
    await rows(
      stage.services.db,
      sql`update attune.rule set label = ${`change ${round}`} where ref = ${`default.many${at}_${round + 1}`}`,
    );
    costs.change.push(await evaluate(stage, sets, many, payload(round + 1)));
  }
  const ratio = (of: keyof Cost) => (median(costs.many, of) / median(costs.few, of)).toFixed(2);
  const both = (from: readonly Cost[]) => `${ms(median(from, "cpu"))}, ${ms(median(from, "wall"))}`;
  return [
    database,
    kind,
    both(costs.few),
    both(costs.many),
    `**${ratio("cpu")}**, ${ratio("wall")}`,
    both(costs.change),
    both(costs.first),
  ];
}

await runSection("rules", {
  head: ["database", "conditions", "10 rules", "10,000 rules", "ratio", "after a change of one", "the first event"],
  measure: async (stage, database) => {
    const lines: string[][] = [];
    for (const [at, kind] of Object.keys(kinds).entries()) lines.push(await measure(stage, database, kind, at));
    return lines;
  },
});
