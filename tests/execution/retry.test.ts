import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { RetryInput } from "../../src/catalog/retry.ts";
import { write } from "../../src/db/tx.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { type ExecuteActionInput, executeAction } from "../../src/execution/execute.ts";
import { type ExecutionOutcome, finishExecutions } from "../../src/execution/finish.ts";
import { loseExecutions } from "../../src/execution/lose.ts";
import { admitDue } from "../../src/executor/admissions.ts";
import { sweep } from "../../src/executor/sweep.ts";
import { createPolicy } from "../../src/policy/policy.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
/** A worker that exists only as a row: tests act for it. */
let worker: { id: string; name: string };
beforeAll(async () => {
  world = await createWorld();
  worker = await world.workerRow();
});
afterAll(() => world[Symbol.asyncDispose]());
afterEach(() =>
  world.all(
    sql`with gone as (delete from attune_jobs.job), without as (delete from attune.policy),
        alive as (update attune.worker set last_heartbeat = now())
      delete from attune.execution`,
  ),
);

const request = async (input: Partial<ExecuteActionInput> = {}) => {
  const action = { action: "core.noop", parameters: {}, timeoutSeconds: null, priority: null };
  return String((await commit(world.services, executeAction, world.session, { ...action, ...input })).id);
};
const claim = () =>
  write(world.services, async (tx) => {
    const { claims } = await claimExecutions(tx, worker, { runtimeRef: "core.action.builtin", limit: 10 });
    return claims.map(({ id }) => id);
  });
const end = (id: string, status: ExecutionOutcome["status"] = "failed") =>
  write(world.services, (tx) =>
    finishExecutions(tx, [{ id, attempt: 1, status, result: null, error: { code: "E", message: "e" }, reason: null }]),
  );

interface Try {
  id: string;
  of: string | null;
  count: number;
  status: string;
  waitsFor: string | null;
  /** Seconds from its creation. */
  delay: number | null;
}
const tries = () =>
  world.all<Try>(
    sql`select id::text, retry_of::text as of, retry_count as count, status, waits_for as "waitsFor",
      extract(epoch from run_at - created)::float8 as delay from attune.execution order by execution.id`,
  );
/** Lets what waits for a time be due now. */
const pass = () => world.all(sql`update attune.execution set run_at = now() where status = 'requested'`);

describe("an execution that fails", () => {
  test("is tried again as often as it may be, each time as an execution of its own with the same properties", async () => {
    const first = await request({ retry: { max: 2 }, priority: 7, timeoutSeconds: 33 });
    const ids: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      const [id = ""] = await claim();
      ids.push(id);
      await end(id);
    }
    expect(ids[0]).toBe(first);
    expect(await claim()).toEqual([]);
    expect(await tries()).toMatchObject([
      { id: ids[0], of: null, count: 0, status: "failed" },
      { id: ids[1], of: ids[0], count: 1, status: "failed" },
      { id: ids[2], of: ids[1], count: 2, status: "failed" },
    ]);
    expect(
      await world.all(
        sql`select distinct action, action_ref, config, executor, priority, timeout_seconds, trace_tag, generation, retry, max_retries
          from attune.execution`,
      ),
    ).toHaveLength(1);
    const steps = [
      "->requested",
      "requested>scheduling",
      "scheduling>scheduled",
      "scheduled>running",
      "running>failed",
    ];
    expect(await world.timeline(ids[2] ?? "")).toEqual(steps);
  });

  test.each<[RetryInput, (number | [number, number])[]]>([
    [{ max: 3, delay: 10 }, [10, 10, 10]],
    [{ max: 3, delay: 10, backoff: "linear" }, [10, 20, 30]],
    [{ max: 4, delay: 10, backoff: "exponential" }, [10, 20, 40, 80]],
    [{ max: 4, delay: 10, backoff: "exponential", maxDelay: 25 }, [10, 20, 25, 25]],
    [
      { max: 2, delay: 100, jitter: 0.5 },
      [
        [50, 100],
        [50, 100],
      ],
    ],
  ])("%o: waits %o seconds before each try", async (retry, delays) => {
    await request({ retry });
    for (const delay of delays) {
      const [id = ""] = await claim();
      await end(id);
      expect(await claim()).toEqual([]);
      const next = (await tries()).at(-1);
      expect(next).toMatchObject({ of: id, status: "requested", waitsFor: "retry" });
      const [least, most] = Array.isArray(delay) ? delay : [delay, delay];
      expect(next?.delay).toBeGreaterThanOrEqual(least - 0.5);
      expect(next?.delay).toBeLessThanOrEqual(most + 0.5);
      await pass();
      const executor = world.startExecutor();
      await until(async () => (await tries()).at(-1)?.status === "scheduled", "the next try");
      await executor.stop();
    }
  });

  test("is not tried again when it completes, is cancelled, or ends in a way that is not named", async () => {
    const retry: RetryInput = { max: 5, on: ["timeout"] };
    const ids = [
      await request({ retry }),
      await request({ retry }),
      await request({ retry }),
      await request({ retry }),
    ];
    await claim();
    await end(ids[0] ?? "", "completed");
    await end(ids[1] ?? "", "failed");
    await commit(world.services, cancelExecution, world.session, { id: BigInt(ids[2] ?? ""), reason: null });
    await end(ids[2] ?? "", "timeout");
    expect(await tries()).toHaveLength(4);
    await end(ids[3] ?? "", "timeout");
    expect((await tries()).at(-1)).toMatchObject({ of: ids[3], count: 1, status: "scheduled" });
  });

  test("is tried again when it is abandoned and when nothing ended it in time", async () => {
    const ids = [await request({ retry: { max: 1 } }), await request({ retry: { max: 1 } })];
    await claim();
    await world.all(sql`update attune.execution set on_worker_loss = 'abandon'`);
    await write(world.services, (tx) => loseExecutions(tx, sql`e.id = ${ids[0]}::bigint`, "the worker was lost"));
    await world.all(sql`update attune.execution set deadline = now() - interval '1 hour' where id = ${ids[1]}::bigint`);
    await world.all(sql`delete from attune.presence`); // else only the seconds in which executors ran count
    await sweep(world.services);
    expect(await tries()).toMatchObject([
      { status: "abandoned" },
      { status: "timeout" },
      { of: ids[0], status: "scheduled" },
      { of: ids[1], status: "scheduled" },
    ]);
  });

  test("keeps its secrets, and its place in the queue of its policy is taken by its retry only in turn", async () => {
    await commit(world.services, createPolicy, world.session, { ref: "default.one", method: "enqueue", threshold: 1 });
    const first = await request({ retry: { max: 1 } });
    const other = await request();
    await world.all(
      sql`insert into attune.execution_secret (execution, path, source, encrypted) values (${first}::bigint, '/a', 'key:x', 'v1:x')`,
    );
    expect(await claim()).toEqual([first]);
    await end(first);
    expect(await tries()).toMatchObject([
      { id: first, status: "failed" },
      { id: other, status: "scheduled" },
      { of: first, status: "scheduling", waitsFor: "slot" },
    ]);
    expect(await world.all(sql`select path, source, encrypted from attune.execution_secret order by id`)).toEqual([
      { path: "/a", source: "key:x", encrypted: "v1:x" },
      { path: "/a", source: "key:x", encrypted: "v1:x" },
    ]);
  });

  test("of a parent that has ended is not tried again", async () => {
    const parent = await request();
    const child = await request({ retry: { max: 1 } });
    await claim();
    await world.all(sql`update attune.execution set parent = ${parent}::bigint, depth = 1 where id = ${child}::bigint`);
    await end(parent, "completed");
    await end(child);
    expect(await tries()).toHaveLength(2);
  });
});

describe("an execution requested for a time", () => {
  test("waits for it, then is admitted at once, also after a restart", async () => {
    const executor = world.startExecutor();
    const at = new Date(Date.now() + 700);
    const id = await request({ runAt: at });
    expect(await world.execution(id)).toMatchObject({ status: "requested", waitsFor: "time" });
    expect(await claim()).toEqual([]);
    await until(async () => (await world.execution(id)).status === "scheduled", "its time");
    const [{ late }] = (await world.all<{ late: number }>(
      sql`select extract(epoch from scheduled_at - run_at)::float8 as late from attune.execution`,
    )) as [{ late: number }];
    expect(late).toBeGreaterThanOrEqual(0);
    expect(await claim()).toEqual([id]);
    await executor.stop();
    const missed = await request({ runAt: new Date(Date.now() + 60_000) });
    await pass();
    const restarted = world.startExecutor();
    await until(async () => (await world.execution(missed)).status === "scheduled", "a time that passed meanwhile");
    await restarted.stop();
  });

  test("is not admitted by a transaction that began before its time", async () => {
    const at = new Date(Date.now() + 200);
    const id = await request({ runAt: at });
    const early = await write(world.services, async (tx) => {
      await tx.db.execute(sql`select 1`);
      await until(() => Date.now() > at.getTime() + 20, "the time within the transaction");
      return await admitDue(tx);
    });
    expect([early, (await world.execution(id)).status]).toEqual([0, "requested"]);
    expect(await write(world.services, admitDue)).toBe(1);
  });

  test("can be cancelled while it waits", async () => {
    const id = await request({ runAt: new Date(Date.now() + 60_000) });
    await commit(world.services, cancelExecution, world.session, { id: BigInt(id), reason: null });
    expect(await world.execution(id)).toMatchObject({ status: "cancelled", waitsFor: null });
  });

  test("in the past runs now; too far ahead it is refused", async () => {
    expect(await world.execution(await request({ runAt: new Date(0) }))).toMatchObject({ status: "scheduled" });
    await expect(request({ runAt: new Date(Date.now() + 400 * 24 * 3600 * 1000) })).rejects.toMatchObject({
      issues: [{ path: "runAt", message: "must be within 366 days" }],
    });
  });
});

test.each<[RetryInput, string[]]>([
  [{ max: 0 }, ["retry.max"]],
  [{ max: 1, delay: -1, jitter: 2, maxDelay: 1e9 }, ["retry.delay", "retry.jitter", "retry.maxDelay"]],
  [{ max: 1, on: [] }, ["retry.on"]],
])("refuses %o", async (retry, paths) => {
  const refusal = await request({ retry }).catch((error: { issues: { path: string }[] }) => error.issues);
  expect((refusal as { path: string }[]).map(({ path }) => path).sort()).toEqual(paths);
});
