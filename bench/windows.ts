import { sql } from "drizzle-orm";
import { createTrigger } from "../src/catalog/trigger.ts";
import { rows } from "../src/db/client.ts";
import { write } from "../src/db/tx.ts";
import { emitEvents, findTrigger } from "../src/event/record.ts";
import { enforceEvents } from "../src/executor/events.ts";
import { decideWindows } from "../src/executor/windows.ts";
import { createRule } from "../src/rule/rule.ts";
import { createRuleSets } from "../src/rule/ruleset.ts";
import { commit } from "../tests/support/commit.ts";
import { options, runSection } from "./section.ts";
import type { Stage } from "./stage.ts";
import { percentile } from "./statistics.ts";

// Measures how many events a second are evaluated and decided about by a rule with a window, by the number of its keys, against a rule without one:
// `npm run bench:windows`, with `--quick` fewer events, with `--write` into docs/benchmarks.md.

const events = options.quick ? 2000 : 10_000;
const rounds = options.quick ? 2 : 3;

/** By the number of keys; null: the rule has no window, and starts with each event. */
const kinds: readonly (number | null)[] = [null, 1, 100, 10_000];

/** With fewer events a round has fewer keys. */
function nameOf(keys: number | null): string {
  if (keys === null) return "none, each event starts";
  return keys === 1 ? "throttle, 1 key" : `throttle, ${Math.min(keys, events).toLocaleString("en")} keys`;
}

/** Stores events, and returns how many a second are evaluated, and decided about, until nothing is left. */
async function measure({ services }: Stage, ref: string, keys: number | null): Promise<number> {
  const trigger = await findTrigger(services.db, ref);
  if (!trigger) throw new Error("the trigger that was created is missing");
  for (let from = 0; from < events; from += 500) {
    const batch = Array.from({ length: 500 }, (_, index) => ({
      ...{ trigger, config: null, source: null, rule: null, traceTag: null, cause: null, generation: 0 },
      payload: { key: (from + index) % (keys ?? 1) },
    }));
    await write(services, (tx) => emitEvents(tx, batch));
  }
  const sets = createRuleSets();
  const began = performance.now();
  while ((await enforceEvents(services, sets, 100)) > 0);
  while ((await decideWindows(services, sets.owners)).isLeft);
  const took = (performance.now() - began) / 1000;
  const [left] = await rows<{ count: number }>(
    services.db,
    sql`select count(*)::int as count from attune.rule_evaluation where pending`,
  );
  if (left?.count !== 0) throw new Error("something is not decided about");
  return events / took;
}

async function measureAll(stage: Stage, database: string): Promise<string[][]> {
  const found = new Map<number | null, number[]>(kinds.map((keys) => [keys, []]));
  for (const keys of kinds) {
    const ref = `default.keys_${keys ?? "none"}`;
    await commit(stage.services, createTrigger, stage.session, { ref });
    const window = { throttle: { per: 3600 }, key: "event.payload.key" };
    await commit(stage.services, createRule, stage.session, {
      ...{ ref, trigger: ref, action: "core.noop", recordEvaluations: "none" },
      ...(keys === null ? {} : { window }),
    });
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const keys of kinds) found.get(keys)?.push(await measure(stage, `default.keys_${keys ?? "none"}`, keys));
    await rows(stage.services.db, sql`analyze`);
  }
  return [...found].map(([keys, rates]) => [
    database,
    nameOf(keys),
    Math.round(percentile(rates, 50)).toLocaleString("en"),
  ]);
}

await runSection("windows", { head: ["database", "window", "events/s"], measure: measureAll });
