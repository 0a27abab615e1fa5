import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { executeAction } from "../../src/execution/execute.ts";
import { finishExecutions } from "../../src/execution/finish.ts";
import { createPolicy, updatePolicy } from "../../src/policy/policy.ts";
import { commit } from "../support/commit.ts";
import { onPostgres } from "../support/database.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let worker: { id: string; name: string };
beforeAll(async () => {
  world = await createWorld();
  worker = await world.workerRow();
});
afterAll(() => world[Symbol.asyncDispose]());

const each = 6;
const admitters = 16;

/** Requests executions one after another. */
async function admit(): Promise<void> {
  for (let n = 0; n < each; n += 1) {
    const input = { action: "core.noop", parameters: {}, timeoutSeconds: null, priority: null };
    await commit(world.services, executeAction, world.session, input);
  }
}

/** Claims and ends executions until as many have ended in all as were requested. */
async function work(done: { count: number }): Promise<void> {
  while (done.count < admitters * each) {
    const from = { runtimeRef: "core.action.builtin", limit: 5 };
    const { claims } = await write(world.services, (tx) => claimExecutions(tx, worker, from));
    const outcome = { status: "completed", result: null, error: null, reason: null } as const;
    const outcomes = claims.map(({ id, attempt }) => ({ id, attempt, ...outcome }));
    if (outcomes.length > 0) await write(world.services, (tx) => finishExecutions(tx, outcomes));
    done.count += outcomes.length;
  }
}

/** From the transition that gave an execution its slot to the one that ended it, in the order of the starts. */
const findSpans = () =>
  world.all<{ requested: number; from: number; to: number }>(
    sql`select (extract(epoch from e.created) * 1000)::float8 as requested, (extract(epoch from s.at) * 1000)::float8 as "from", (extract(epoch from t.at) * 1000)::float8 as "to"
      from attune.execution e join attune.execution_transition s on s.execution = e.id and s.to_status = 'scheduled'
        join attune.execution_transition t on t.execution = e.id and attune.is_terminal(t.to_status)
      order by s.at, e.id`,
  );

test("16 that request and 4 that end executions under a limit of 1: never two at once, and a free slot is taken at once", async () => {
  const limit = { threshold: 1, method: "enqueue" } as const;
  await commit(world.services, createPolicy, world.session, { ref: "default.one", action: "core.noop", ...limit });
  const done = { count: 0 };
  await Promise.all([...Array.from({ length: admitters }, admit), ...Array.from({ length: 4 }, () => work(done))]);
  const spans = await findSpans();
  expect(spans).toHaveLength(admitters * each);
  const gaps = spans.slice(1).map(({ from }, index) => from - (spans[index]?.to ?? 0));
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0);
  // Where the next one waited already, it follows in the same transaction, which only other transactions of the group can delay.
  const slow = gaps.filter((gap, index) => gap > 100 && (spans[index + 1]?.requested ?? 0) < (spans[index]?.to ?? 0));
  expect(slow.length).toBeLessThan(gaps.length / 4);
  expect(await world.one(sql`select active, waiting from attune.policy_group`)).toEqual({ active: 0, waiting: 0 });
});

test("a limit that changes while executions are requested and end loses none of them", async () => {
  const done = { count: 0 };
  const changing = async () => {
    for (let threshold = 1; done.count < admitters * each; threshold = (threshold % 5) + 1) {
      const change = {
        ref: "default.one",
        patch: { threshold, enabled: threshold !== 3, parameters: threshold > 3 ? ["x"] : [] },
      };
      await commit(world.services, updatePolicy, world.session, change);
    }
  };
  await Promise.all([
    ...Array.from({ length: admitters }, admit),
    ...Array.from({ length: 4 }, () => work(done)),
    changing(),
  ]);
  expect(await world.all(sql`select id from attune.execution where not attune.is_terminal(status)`)).toEqual([]);
});

// One connection cannot hold a lock while another transaction waits for it.
test.skipIf(!onPostgres())(
  "an execution that is requested while an end waits for the group has its job when it gets the slot",
  async () => {
    const { services, session } = world;
    const patch = { threshold: 1, enabled: true, parameters: [] };
    await commit(services, updatePolicy, session, { ref: "default.one", patch });
    const input = { action: "core.noop", parameters: {}, timeoutSeconds: null, priority: null };
    await commit(services, executeAction, session, input);
    const from = { runtimeRef: "core.action.builtin", limit: 5 };
    const { claims } = await write(services, (tx) => claimExecutions(tx, worker, from));
    const outcome = { status: "completed", result: null, error: null, reason: null } as const;
    const outcomes = claims.map(({ id, attempt }) => ({ id, attempt, ...outcome }));
    expect(outcomes).toHaveLength(1);
    const ending: Promise<boolean[]>[] = [];
    const { id } = await write(services, async (tx) => {
      await tx.db.execute(sql`select from attune.policy_group for no key update`);
      ending.push(write(services, (other) => finishExecutions(other, outcomes)));
      const waits = sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      await until(async () => (await world.all(waits)).length > 0, "the end to wait for the group");
      return await executeAction(tx, session, input);
    });
    expect(await Promise.all(ending)).toEqual([[true]]);
    expect((await world.execution(String(id))).status).toBe("scheduled");
    const taken = await write(services, (tx) => claimExecutions(tx, worker, from));
    expect(taken.claims.map((claim) => claim.id)).toEqual([String(id)]);
  },
);
