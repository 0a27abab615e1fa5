import { sql } from "drizzle-orm";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { type Tx, write } from "../../src/db/tx.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { executeAction } from "../../src/execution/execute.ts";
import { finishExecutions } from "../../src/execution/finish.ts";
import { loseExecutions } from "../../src/execution/lose.ts";
import { reportable } from "../../src/execution/states.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { createPolicy, deletePolicy, updatePolicy } from "../../src/policy/policy.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
/** A worker that exists only as a row: the test acts for it. */
let worker: { id: string; name: string };
beforeAll(async () => {
  world = await createWorld();
  worker = await world.workerRow();
});
afterAll(() => world[Symbol.asyncDispose]());

const kinds = {
  request: fc.record({
    action: fc.constantFrom("core.noop", "core.echo", "core.echo"),
    message: fc.constantFrom("a", "b"),
    priority: fc.constantFrom(0, 0, 1),
    retries: fc.constantFrom(0, 0, 2),
  }),
  claim: fc.record({ limit: fc.integer({ min: 1, max: 3 }), runtime: fc.constantFrom("builtin", "shell") }),
  finish: fc.record({ status: fc.constantFrom(...reportable) }),
  cancel: fc.record({}),
  lose: fc.record({}),
  edit: fc.record({
    ref: fc.constantFrom("default.wide", "default.narrow"),
    remove: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
    patch: fc.record(
      {
        threshold: fc.integer({ min: 1, max: 3 }),
        method: fc.constantFrom("enqueue", "enqueue", "cancel"),
        enabled: fc.boolean(),
        parameters: fc.subarray(["message"]),
        priority: fc.nat(1),
      },
      { requiredKeys: [] },
    ),
  }),
};
type Kinds = { [K in keyof typeof kinds]: { kind: K } & ((typeof kinds)[K] extends fc.Arbitrary<infer T> ? T : never) };
/** One step. `pick` chooses among the executions that it can concern; a killed one is rolled back. */
type Step = Kinds[keyof Kinds] & { pick: number; killed: boolean };

const stepOf = (kind: keyof typeof kinds, weight: number) => ({
  weight,
  arbitrary: fc
    .tuple(kinds[kind] as fc.Arbitrary<object>, fc.nat(1000), fc.integer({ min: 0, max: 9 }))
    .map(([fields, pick, dice]) => ({ kind, pick, killed: dice === 0, ...fields }) as Step),
});
const steps = fc.array(
  fc.oneof(
    stepOf("request", 5),
    stepOf("claim", 3),
    stepOf("finish", 3),
    stepOf("edit", 2),
    stepOf("cancel", 1),
    stepOf("lose", 1),
  ),
  { minLength: 30, maxLength: 40, size: "max" },
);

const scopes = { "default.wide": { pack: "core" }, "default.narrow": { action: "core.echo" } } as const;

const findExecutions = (tx: Tx, where: string) =>
  rows<{ id: string; attempt: number }>(
    tx.db,
    sql.raw(`select id::text, attempt from attune.execution where ${where} order by id`),
  );
const claimFrom = (tx: Tx, runtime: string, limit: number) =>
  claimExecutions(tx, worker, { runtimeRef: `core.action.${runtime}`, limit });

async function perform(tx: Tx, step: Step): Promise<void> {
  const pick = async (where: string) => {
    const among = await findExecutions(tx, where);
    return among.slice(step.pick % Math.max(among.length, 1)).slice(0, 1);
  };
  const { session } = world;
  if (step.kind === "request") {
    const { action, message, priority, retries } = step;
    const retry = retries === 0 ? null : { max: retries };
    const parameters: JsonObject = action === "core.echo" ? { message } : {};
    await executeAction(tx, session, { action, parameters, timeoutSeconds: null, priority, retry });
  } else if (step.kind === "claim") {
    await claimFrom(tx, step.runtime, step.limit);
  } else if (step.kind === "edit") {
    const [known] = await tx.db.query.policies.findMany({ where: { ref: step.ref } });
    const fields = { threshold: 2, method: "enqueue" as const, ...scopes[step.ref], ...step.patch };
    if (!known) await createPolicy(tx, session, { ref: step.ref, ...fields });
    else if (step.remove) await deletePolicy(tx, session, { ref: step.ref });
    else await updatePolicy(tx, session, { ref: step.ref, patch: step.patch });
  } else if (step.kind === "cancel") {
    for (const { id } of await pick("not attune.is_terminal(status)")) {
      await cancelExecution(tx, session, { id: BigInt(id), reason: null });
    }
  } else {
    for (const one of await pick("attune.is_in_progress(status)")) {
      if (step.kind === "lose") await loseExecutions(tx, sql`e.id = ${one.id}::bigint`, "the worker was lost");
      else await finishExecutions(tx, [{ ...one, status: step.status, result: null, error: null, reason: null }]);
    }
  }
}

/** Every place that is wrong: numbers, states, groups, free slots for which something waits. */
const findFaults = () =>
  world.all<{ fault: string; id: string }>(
    sql`select 'numbers' as fault, g.id::text from attune.policy_group g
        left join (select policy_group, count(*) filter (where state = 'active') as active,
          count(*) filter (where state = 'waiting') as waiting from attune.policy_slot group by 1) s on s.policy_group = g.id
      where (g.active, g.waiting) <> (coalesce(s.active, 0), coalesce(s.waiting, 0))
      union all select 'a slot is free although something waits', g.id::text from attune.policy_group g
        join attune.policy p on p.id = g.policy where g.waiting > 0 and g.active < p.threshold
      union all select 'place of ' || e.status, e.id::text from attune.execution e
        left join attune.policy_slot s on s.execution = e.id
        left join attune.policy_group g on g.id = s.policy_group left join attune.action_policy ap on ap.action = e.action
        left join attune.policy p on p.id = ap.policy
      where case when attune.is_terminal(e.status) then s.id is not null
        when ap.policy is null then s.id is not null
        else s.state is distinct from case when e.status = 'scheduling' then 'waiting' else 'active' end
          or (g.policy, g.key) is distinct from (ap.policy, attune.policy_key(p.parameters, e.config)) end
      union all select 'waits without a policy', e.id::text from attune.execution e
        left join attune.action_policy ap on ap.action = e.action where e.status = 'scheduling' and ap.policy is null
      union all select 'not tried again', e.id::text from attune.execution e
        where e.status in ('failed', 'timeout', 'abandoned') and e.cancel_requested_at is null and e.retry_count < e.max_retries
          and 1 <> (select count(*) from attune.execution n where n.retry_of = e.id)
      union all select 'no job', e.id::text from attune.execution e where e.status = 'scheduled'
        and not exists (select from attune_jobs.job j where j.data ->> 'entity' = e.id::text)`,
  );

interface Load {
  id: string;
  active: number;
  threshold: number;
}
const findLoads = () =>
  world.all<Load>(
    sql`select g.id::text, g.active, p.threshold from attune.policy_group g join attune.policy p on p.id = g.policy`,
  );

async function take(step: Step): Promise<void> {
  const before = new Map((await findLoads()).map(({ id, active }) => [id, active]));
  const killed = new Error("killed");
  await write(world.services, async (tx) => {
    await perform(tx, step);
    if (step.killed) throw killed;
  }).catch((error: unknown) => {
    if (error !== killed) throw error;
  });
  expect(await findFaults()).toEqual([]);
  // An edit counts what runs already; nothing else lets a group rise above its limit.
  if (step.kind === "edit") return;
  for (const { id, active, threshold } of await findLoads()) {
    expect(active).toBeLessThanOrEqual(Math.max(threshold, before.get(id) ?? 0));
  }
}

/** Runs what is left until nothing is: every execution ends. */
async function drain(): Promise<void> {
  for (;;) {
    const [left] = await world.all(sql`select from attune.execution where not attune.is_terminal(status) limit 1`);
    if (!left) break;
    const moved = await write(world.services, async (tx) => {
      for (const runtime of ["builtin", "shell"]) await claimFrom(tx, runtime, 100);
      const outcome = { status: "completed", result: null, error: null, reason: null } as const;
      const running = await findExecutions(tx, "attune.is_in_progress(status)");
      await finishExecutions(
        tx,
        running.map((one) => ({ ...one, ...outcome })),
      );
      return running.length;
    });
    expect(moved).toBeGreaterThan(0);
  }
  expect(await findFaults()).toEqual([]);
  expect(await world.all(sql`select from attune.policy_group where active <> 0 or waiting <> 0`)).toEqual([]);
}

test("whatever happens in whatever order, each execution has its place, no slot leaks, and everything drains", async () => {
  await fc.assert(
    fc
      .asyncProperty(steps, async (all) => {
        for (const step of all) await take(step);
        await drain();
      })
      .afterEach(async () => {
        await world.all(
          sql`with gone as (delete from attune_jobs.job), without as (delete from attune.policy) delete from attune.execution`,
        );
      }),
    { numRuns: Number(process.env["RUNS"] ?? 6), endOnFailure: true },
  );
});
