import { createPolicy, deletePolicy } from "../src/policy/policy.ts";
import { commit } from "../tests/support/commit.ts";
import { type Load, newestEvent, type Pipeline, verify } from "./pipeline.ts";
import type { Stage } from "./stage.ts";

/** Rates in events per second without a policy, with one whose limit is never reached, and with one that lets 5 run at once. */
export interface PolicyRates {
  load: Load;
  without: number[];
  wide: number[];
  narrow: number[];
}

const ref = "default.bench";

/** Alternates the three, so that other load on the machine affects all of them. */
export async function measurePolicies(
  { stage, pipeline }: { stage: Stage; pipeline: Pipeline },
  load: Load,
  rounds: number,
): Promise<PolicyRates> {
  const rates: PolicyRates = { load, without: [], wide: [], narrow: [] };
  const run = async () => {
    const after = await newestEvent(stage);
    const started = performance.now();
    await pipeline.run(load);
    const rate = (load.count * 1000) / (performance.now() - started);
    await verify(stage, after, load.count);
    return rate;
  };
  const under = async (threshold: number) => {
    const input = { ref, action: "core.noop", method: "enqueue", threshold } as const;
    await commit(stage.services, createPolicy, stage.session, input);
    const rate = await run();
    await commit(stage.services, deletePolicy, stage.session, { ref });
    return rate;
  };
  for (let round = 0; round < rounds; round += 1) {
    rates.without.push(await run());
    rates.wide.push(await under(1_000_000));
    rates.narrow.push(await under(5));
  }
  return rates;
}
