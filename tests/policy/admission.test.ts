import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { deleteAction } from "../../src/catalog/action.ts";
import { rows } from "../../src/db/client.ts";
import { type Tx, write } from "../../src/db/tx.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { executeAction } from "../../src/execution/execute.ts";
import { finishExecutions } from "../../src/execution/finish.ts";
import { enterGroups } from "../../src/execution/slots.ts";
import { sweep } from "../../src/executor/sweep.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import {
  createPolicy,
  deletePolicy,
  type PolicyFields,
  setPolicyEnabled,
  updatePolicy,
} from "../../src/policy/policy.ts";
import { commit } from "../support/commit.ts";
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

const atMost = (threshold: number, fields: PolicyFields = {}): PolicyFields => ({
  method: "enqueue",
  threshold,
  ...fields,
});
const policy = (ref: string, fields: PolicyFields) =>
  commit(world.services, createPolicy, world.session, { ref, ...fields });
const change = (ref: string, patch: PolicyFields) =>
  commit(world.services, updatePolicy, world.session, { ref, patch });
const enable = (ref: string, enabled: boolean) =>
  commit(world.services, setPolicyEnabled, world.session, { ref, enabled });
const remove = (ref: string) => commit(world.services, deletePolicy, world.session, { ref });
const cancel = (id: string) => commit(world.services, cancelExecution, world.session, { id: BigInt(id), reason: null });

/** Executes the action and returns the execution's id. */
async function request(action = "core.noop", parameters: JsonObject = {}, priority = 0): Promise<string> {
  const input = { action, parameters, timeoutSeconds: null, priority };
  return String((await commit(world.services, executeAction, world.session, input)).id);
}
const requests = async (count: number, ...args: Parameters<typeof request>) => {
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1) ids.push(await request(...args));
  return ids;
};

const claim = (limit = 100, runtime = "core.action.builtin") =>
  write(world.services, async (tx) => {
    const { claims } = await claimExecutions(tx, worker, { runtimeRef: runtime, limit });
    return claims.map(({ id }) => id);
  });
const finish = (...ids: string[]) =>
  write(world.services, (tx) =>
    finishExecutions(
      tx,
      ids.map((id) => ({ id, attempt: 1, status: "completed" as const, result: {}, error: null, reason: null })),
    ),
  );

/** The statuses of the executions, in order, a letter each: w(aiting), s(cheduled), r(unning), x (ended). */
async function states(ids: readonly string[]): Promise<string> {
  const letters: string[] = [];
  for (const id of ids) {
    const { status, waitsFor } = await world.execution(id);
    const letter = { scheduling: "w", scheduled: "s", running: "r" }[status as string] ?? "x";
    expect(waitsFor, id).toBe(letter === "w" ? "slot" : null);
    letters.push(letter);
  }
  return letters.join("");
}

/** Compares the groups' numbers with their slots, and the slots with the executions. */
async function checkLedger(): Promise<void> {
  const wrong = await world.all(
    sql`select g.id, g.active, g.waiting from attune.policy_group g
        left join (select policy_group, count(*) filter (where state = 'active') as active,
          count(*) filter (where state = 'waiting') as waiting from attune.policy_slot group by 1) s on s.policy_group = g.id
      where (g.active, g.waiting) <> (coalesce(s.active, 0), coalesce(s.waiting, 0))
      union all select e.id, null, null from attune.policy_slot s join attune.execution e on e.id = s.execution
      where s.state <> case when e.status = 'scheduling' then 'waiting' when attune.is_terminal(e.status) then 'released' else 'active' end`,
  );
  expect(wrong).toEqual([]);
}

describe("a limit", () => {
  test("of a rate is read once for a batch, and one without a rate never", async () => {
    const callsOf = async ({ db }: Tx) => {
      const name = "attune.policy_rate(bigint, int, int)";
      const [row] = await rows<{ calls: number }>(
        db,
        sql`select coalesce(pg_stat_get_xact_function_calls(${name}::regprocedure), 0)::int as calls`,
      );
      return row?.calls ?? 0;
    };
    const enter = async (ref: string) => {
      const { id } = await world.one<{ id: string }>(sql`select id::text from attune.policy where ref = ${ref}`);
      return await write(world.services, async (tx) => {
        await tx.db.execute(sql`set local track_functions = 'all'`);
        const entering = Array.from({ length: 50 }, () => ({ policy: id, config: {} }));
        const before = await callsOf(tx);
        const groups = await enterGroups(tx, entering);
        expect(groups.filter((group) => group?.policyRef === ref)).toHaveLength(50);
        return (await callsOf(tx)) - before;
      });
    };
    await policy("default.two", atMost(2, { action: "core.noop" }));
    await policy("default.rate", { rateMax: 3, rateWindowSeconds: 60, action: "core.echo" });
    expect(await enter("default.rate")).toBe(1);
    expect(await enter("default.two")).toBe(0);
  });

  test("lets as many run as it says, and the next when one ends, in the same transaction", async () => {
    await policy("default.two", atMost(2, { action: "core.noop" }));
    const ids = await requests(4);
    expect(await states(ids)).toBe("ssww");
    expect(await world.execution(ids[2] ?? "")).toMatchObject({ reason: "waits for a slot of the policy default.two" });
    expect(await claim()).toEqual(ids.slice(0, 2));
    expect(await finish(ids[1] ?? "")).toEqual([true]);
    expect(await states(ids)).toBe("rxsw");
    expect(await world.timeline(ids[2] ?? "")).toEqual(["->requested", "requested>scheduling", "scheduling>scheduled"]);
    expect(await claim()).toEqual([ids[2]]);
    await finish(ids[0] ?? "", ids[2] ?? "");
    expect(await states(ids)).toBe("xxxs");
    await checkLedger();
  });

  test("counts per value of its parameters; a missing one counts as null", async () => {
    await policy("default.each", atMost(1, { action: "core.shell", parameters: ["command", "/args/0"] }));
    const shell = (command: string, ...args: string[]) => request("core.shell", { command, args });
    const ids = [
      await shell("a", "x"),
      await shell("a", "x"),
      await shell("a", "y"),
      await shell("b"),
      await shell("b"),
    ];
    expect(await states(ids)).toBe("swssw");
    const keys = await world.all<{ key: string }>(sql`select key from attune.policy_group order by key`);
    expect(keys.map(({ key }) => key)).toEqual(['["a", "x"]', '["a", "y"]', '["b", null]']);
  });

  test("of the action wins over that of its pack, that of the pack over one for all, and the higher priority over the lower", async () => {
    await policy("default.all", atMost(9));
    await policy("default.pack", atMost(8, { pack: "core" }));
    await policy("default.low", atMost(7, { action: "core.noop" }));
    await policy("default.high", atMost(6, { action: "core.noop", priority: 1 }));
    const applied = async (action: string, parameters: JsonObject = {}) => {
      const id = await request(action, parameters);
      return (
        await world.one<{ ref: string }>(
          sql`select p.ref from attune.policy_slot s join attune.policy_group g on g.id = s.policy_group
          join attune.policy p on p.id = g.policy where s.execution = ${id}::bigint`,
        )
      ).ref;
    };
    expect(await applied("core.noop")).toBe("default.high");
    expect(await applied("core.echo", { message: "x" })).toBe("default.pack");
    await enable("default.high", false);
    expect(await applied("core.noop")).toBe("default.low");
  });

  test("with the method cancel rejects what exceeds it", async () => {
    await policy("default.one", { method: "cancel", threshold: 1, action: "core.noop" });
    const ids = await requests(2);
    expect(await states(ids)).toBe("sx");
    expect(await world.execution(ids[1] ?? "")).toMatchObject({
      status: "cancelled",
      reason: "the policy default.one admits 1 at once",
    });
    expect(await world.timeline(ids[1] ?? "")).toEqual(["->requested", "requested>scheduling", "scheduling>cancelled"]);
    await cancel(ids[0] ?? "");
    expect(await states(await requests(1))).toBe("s");
  });

  test("admits by priority, then by arrival, and nobody overtakes those who wait", async () => {
    await policy("default.one", atMost(1));
    const first = await request();
    const [low, high, late] = [
      await request("core.noop", {}, 0),
      await request("core.noop", {}, 5),
      await request("core.noop", {}, 5),
    ];
    const order: string[] = [];
    for (let n = 0; n < 4; n += 1) {
      const [id = ""] = await claim();
      order.push(id);
      await finish(id);
    }
    expect(order).toEqual([first, high, late, low]);
  });

  test("holds for the executions of rules as for those of users, from the next event on", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger);
    const executor = world.startExecutor();
    const events = async (count: number) => {
      for (let n = 0; n < count; n += 1) await world.event(trigger);
      await expect
        .poll(() => world.one(sql`select count(*)::int as left from attune.event where evaluated_at is null`), {
          timeout: 20_000,
        })
        .toEqual({ left: 0 });
    };
    await events(1);
    await policy("default.two", atMost(2, { action: "core.noop" }));
    await events(3);
    const ids = await world.all<{ id: string }>(sql`select id::text from attune.execution order by id`);
    expect(await states(ids.map(({ id }) => id))).toBe("ssww");
    await executor.stop();
  });
});

describe("every way in which an execution ends frees its slot", () => {
  test.each<[string, (id: string) => Promise<unknown>]>([
    ["cancelled before it runs", cancel],
    [
      "failed for lack of a worker",
      async (id) => {
        await world.all(
          sql`update attune.execution set scheduled_at = now() - interval '6 minutes' where id = ${id}::bigint`,
        );
        await sweep(world.services);
      },
    ],
    [
      "lost with its worker",
      async (id) => {
        expect(await claim(1)).toEqual([id]);
        await world.all(sql`update attune.execution set on_worker_loss = 'abandon' where id = ${id}::bigint`);
        await world.all(sql`update attune.worker set last_heartbeat = now() - interval '1 hour', capabilities = '{}'`);
        await sweep(world.services);
      },
    ],
    [
      "past its deadline",
      async (id) => {
        expect(await claim(1)).toEqual([id]);
        await world.all(sql`update attune.execution set deadline = now() - interval '1 hour' where id = ${id}::bigint`);
        await sweep(world.services);
      },
    ],
    ["deleted by hand", (id) => world.all(sql`delete from attune.execution where id = ${id}::bigint`)],
  ])("%s", async (_, end) => {
    await policy("default.one", atMost(1));
    const [holder = "", next = ""] = await requests(2);
    expect(await states([holder, next])).toBe("sw");
    await end(holder);
    await sweep(world.services);
    expect(await states([next])).toBe("s");
    await checkLedger();
  });

  test("one that waits leaves the queue when it is cancelled, and the others move up", async () => {
    await policy("default.one", atMost(1));
    const ids = await requests(3);
    await cancel(ids[1] ?? "");
    expect(await states(ids)).toBe("sxw");
    await cancel(ids[0] ?? "");
    expect(await states(ids)).toBe("xxs");
    await checkLedger();
  });

  test("a requeued execution keeps it", async () => {
    await policy("default.one", atMost(1));
    const ids = await requests(2);
    expect(await claim()).toEqual([ids[0]]);
    await world.all(sql`update attune.execution set on_worker_loss = 'requeue' where id = ${ids[0]}::bigint`);
    await world.all(sql`update attune.worker set last_heartbeat = now() - interval '1 hour', capabilities = '{}'`);
    await sweep(world.services);
    expect(await states(ids)).toBe("sw");
    await checkLedger();
  });
});

describe("a change of a policy", () => {
  test("raising its limit admits at once; lowering it stops nothing, and holds from then on", async () => {
    await policy("default.p", atMost(1));
    const ids = await requests(5);
    await change("default.p", { threshold: 3 });
    expect(await states(ids)).toBe("sssww");
    await change("default.p", { threshold: 1 });
    expect(await states(ids)).toBe("sssww");
    await claim();
    await finish(ids[0] ?? "", ids[1] ?? "");
    expect(await states(ids)).toBe("xxrww");
    await finish(ids[2] ?? "");
    expect(await states(ids)).toBe("xxxsw");
    await checkLedger();
  });

  test.each<[string, () => Promise<unknown>]>([
    ["disabling it", () => enable("default.p", false)],
    ["deleting it", () => remove("default.p")],
    ["moving it to another action", () => change("default.p", { action: "core.echo" })],
  ])("%s admits all that waited for it", async (_, alter) => {
    await policy("default.p", atMost(1));
    const ids = await requests(3);
    expect(await states(ids)).toBe("sww");
    await alter();
    expect(await states(ids)).toBe("sss");
    expect(await claim()).toEqual(ids);
    await checkLedger();
  });

  test("creating or enabling one counts what runs already", async () => {
    const ids = await requests(2);
    await policy("default.p", atMost(2));
    expect(await states(await requests(1))).toBe("w");
    await enable("default.p", false);
    const more = await requests(1);
    await enable("default.p", true);
    await claim();
    await finish(...ids);
    expect(await states(await requests(1))).toBe("w");
    await finish(...more);
    await checkLedger();
  });

  test("another that applies now takes over both what runs and what waits", async () => {
    await policy("default.wide", atMost(1));
    const ids = await requests(4);
    await policy("default.narrow", atMost(3, { action: "core.noop" }));
    expect(await states(ids)).toBe("sssw");
    await remove("default.narrow");
    expect(await states(ids)).toBe("sssw");
    await claim();
    await finish(...ids.slice(0, 3));
    expect(await states(ids)).toBe("xxxs");
    await checkLedger();
  });

  test("other parameters group anew", async () => {
    await policy("default.p", atMost(1, { action: "core.echo" }));
    const ids: string[] = [];
    for (const message of ["a", "b", "a"]) ids.push(await request("core.echo", { message }));
    expect(await states(ids)).toBe("sww");
    await change("default.p", { parameters: ["message"] });
    expect(await states(ids)).toBe("ssw");
    await checkLedger();
  });

  test("what waits when its action is deleted, and the policy with it, fails and says so", async () => {
    const ref = "default.gone";
    await world.all(
      sql`insert into attune.action (ref, label, entrypoint, runtime, is_adhoc)
        select ${ref}, 'gone', entrypoint, runtime, true from attune.action where ref = 'core.noop'`,
    );
    await policy("default.p", atMost(1, { action: ref }));
    const ids = await requests(2, ref);
    expect(await states(ids)).toBe("sw");
    await commit(world.services, deleteAction, world.session, { ref });
    await sweep(world.services);
    expect(await states(ids)).toBe("xx");
    expect(await world.execution(ids[1] ?? "")).toMatchObject({
      status: "failed",
      reason: "its action no longer exists",
    });
  });
});

describe("a rate", () => {
  test("lets as many start within any window as it says; the rest start when it allows", async () => {
    await policy("default.rate", { rateMax: 2, rateWindowSeconds: 2 });
    const executor = world.startExecutor();
    const ids = await requests(5);
    expect(await states(ids)).toBe("sswww");
    await finish(...(await claim()));
    await expect.poll(() => states(ids), { timeout: 20_000 }).toBe("xxssw");
    await expect.poll(() => states(ids), { timeout: 20_000 }).toBe("xxsss");
    const starts = await world.all<{ ms: number }>(
      sql`select (extract(epoch from acquired_at) * 1000)::float8 as ms from attune.policy_slot order by acquired_at`,
    );
    for (const [index, { ms }] of starts.entries()) {
      const earlier = starts[index - 2];
      if (earlier) expect(ms - earlier.ms).toBeGreaterThanOrEqual(2000);
    }
    expect(starts).toHaveLength(5);
    await executor.stop();
  });

  test("counts executions that have ended, until the window has passed", async () => {
    await policy("default.rate", { rateMax: 1, rateWindowSeconds: 3600, method: "cancel", threshold: 5 });
    const [first = ""] = await requests(1);
    await finish(...(await claim()));
    const [second = ""] = await requests(1);
    expect(await world.execution(second)).toMatchObject({ reason: "the policy default.rate admits 1 in 3600 s" });
    await world.all(sql`update attune.policy_slot set acquired_at = now() - interval '2 hours'`);
    expect(await states([first, second, ...(await requests(1))])).toBe("xxs");
  });
});
