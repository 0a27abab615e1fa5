import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { deleteExecution } from "../../src/execution/delete.ts";
import { executeAction } from "../../src/execution/execute.ts";
import { type ExecutionOutcome, finishExecutions } from "../../src/execution/finish.ts";
import { loseExecutions } from "../../src/execution/lose.ts";
import { commit } from "../support/commit.ts";
import { processesWith } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { createWorld, type Part, type World } from "../support/world.ts";

const scheduled = ["->requested", "requested>scheduling", "scheduling>scheduled"];
const running = [...scheduled, "scheduled>running"];

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());
// Executions that a test leaves waiting must not be claimed in the next.
afterEach(() =>
  world.all(
    sql`with gone as (delete from attune_jobs.job) delete from attune.execution where not attune.is_terminal(status)`,
  ),
);

const cancel = (id: string, reason: string | null = null) =>
  commit(world.services, cancelExecution, world.session, { id: BigInt(id), reason });

const register = (name: string) => world.workerRow({ name });

const claim = (worker: { id: string; name: string }, limit: number) =>
  write(world.services, (tx) => claimExecutions(tx, worker, { runtimeRef: "core.action.builtin", limit }));

const finish = (outcome: Partial<ExecutionOutcome> & { id: string; attempt: number }) =>
  write(world.services, (tx) =>
    finishExecutions(tx, [{ status: "completed", result: { exit_code: 0 }, error: null, reason: null, ...outcome }]),
  );

/** Creates an execution that the worker runs according to its row. */
async function start(worker: { id: string; name: string }): Promise<string> {
  const id = await world.execute("core.noop");
  const { claims } = await claim(worker, 1);
  expect(claims).toMatchObject([{ id, attempt: 1 }]);
  return id;
}

const lose = (id: string) =>
  write(world.services, (tx) => loseExecutions(tx, sql`e.id = ${id}::bigint`, "it was lost"));

const lastReason = async (id: string) =>
  (
    await world.one<{ reason: string | null }>(
      sql`select reason from attune.execution_transition where execution = ${id}::bigint order by id desc limit 1`,
    )
  ).reason;

test("a claim takes executions by the bytes of their parameters too, by priority, and puts the others back", async () => {
  const worker = await register("of few bytes");
  const ids: string[] = [];
  for (let index = 0; index < 12; index += 1) ids.push(await world.execute("core.noop"));
  // Random text is stored as long as it is.
  await world.all(
    sql`update attune.execution set config = jsonb_build_object('message', (select string_agg(md5(random()::text || n), '') from generate_series(1, 32000) n where e.id > 0))
      from attune.execution e where e.id = execution.id and execution.id::text in (select jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb))`,
  );
  const taken: string[][] = [];
  for (let isMore = true; isMore; ) {
    const claimed = await claim(worker, 100);
    taken.push(claimed.claims.map(({ id }) => id).sort((a, b) => Number(BigInt(a) - BigInt(b))));
    isMore = claimed.isMore;
  }
  expect(taken.flat()).toEqual(ids);
  expect(taken.length).toBeGreaterThan(1);
  for (const { length } of taken.slice(0, -1)) expect(length).toBeGreaterThan(3);
  expect(await world.all(sql`select from attune_jobs.job where name like 'execution/%'`)).toEqual([]);
});

describe("with a worker", () => {
  let worker: Part;
  beforeAll(async () => {
    worker = await world.startWorker();
  });
  afterAll(() => worker.stop());

  test("an action executed by hand completes through five transitions, with its result and its times", async () => {
    const id = await world.execute("core.echo", { message: "hello" });
    const row = await world.ended(id);
    expect(row).toMatchObject({
      status: "completed",
      attempt: 1,
      result: { exit_code: 0, duration_ms: expect.any(Number), data: "hello" },
      error: null,
    });
    expect(await world.timeline(id)).toEqual([...running, "running>completed"]);
    expect(await world.log(id, "stdout")).toBe("hello\n");
    const times = await world.one(
      sql`select created <= scheduled_at and scheduled_at <= started_at and started_at <= finished_at as ordered,
          deadline - started_at = interval '600 seconds' as deadline, executor::text, worker_name is not null as named
        from attune.execution where id = ${id}::bigint`,
    );
    expect(times).toEqual({ ordered: true, deadline: true, executor: String(world.session.identityId), named: true });
    expect(await world.all(sql`select from attune_jobs.job where data ->> 'entity' = ${id}`)).toEqual([]);
  });

  test("a failing action fails with its exit code; its output is in the log", async () => {
    const id = await world.execute("core.fail", { message: "out of paper", exit_code: 7 });
    expect(await world.ended(id)).toMatchObject({
      status: "failed",
      result: { exit_code: 7 },
      error: { code: "EXIT_CODE", message: "The action exited with code 7." },
      reason: "The action exited with code 7.",
    });
    expect(await world.log(id, "stderr")).toBe("out of paper\n");
    expect(await world.timeline(id)).toEqual([...running, "running>failed"]);
  });

  test("an action that runs too long ends as timeout, and its process is killed", async () => {
    const id = await world.execute("core.shell", { command: "exec sleep 7001.25" }, 1);
    expect(await world.ended(id)).toMatchObject({
      status: "timeout",
      error: { code: "TIMEOUT", message: "The action ran longer than 1 s." },
    });
    expect(processesWith("7001.25")).toEqual([]);
    expect(await world.log(id, "system")).toContain("SIGTERM");
  });

  test("an action cancelled while it runs passes through canceling to cancelled, and its process is killed", async () => {
    const id = await world.execute("core.shell", { command: "echo up; exec sleep 7002.25" });
    await until(async () => (await world.log(id, "stdout")) === "up\n", "the process");
    await until(() => processesWith("7002.25").length === 1, "its sleep");
    await cancel(id, "changed my mind");
    expect(["canceling", "cancelled"]).toContain((await world.execution(id)).status);
    expect(await world.ended(id)).toMatchObject({ status: "cancelled", result: { exit_code: null } });
    expect(await world.timeline(id)).toEqual([...running, "running>canceling", "canceling>cancelled"]);
    expect(await lastReason(id)).toMatch(/^cancelled while running; the action ended cancelled/);
    expect(processesWith("7002.25")).toEqual([]);
    await expect(cancel(id)).rejects.toMatchObject({ code: "CONFLICT" });
  });

  test("invalid parameters and an unknown or disabled action are refused, and nothing is stored", async () => {
    const count = () => world.one(sql`select count(*)::int from attune.execution`);
    const before = await count();
    const run = (action: string, parameters = {}, timeoutSeconds: number | null = null) =>
      commit(world.services, executeAction, world.session, { action, parameters, timeoutSeconds, priority: null });
    await expect(run("core.echo")).rejects.toMatchObject({ issues: [{ path: "parameters.message" }] });
    await expect(run("core.echo", { message: "a\u0000" })).rejects.toMatchObject({ code: "BAD_USER_INPUT" });
    await expect(run("core.noop", {}, 0)).rejects.toMatchObject({ issues: [{ path: "timeoutSeconds" }] });
    await expect(run("core.nowhere")).rejects.toMatchObject({ code: "NOT_FOUND", kind: "action" });
    await world.all(sql`update attune.action set enabled = false where ref = 'core.sleep'`);
    await expect(run("core.sleep")).rejects.toMatchObject({ code: "CONFLICT" });
    expect(await count()).toEqual(before);
  });
});

describe("cancelling", () => {
  test("a waiting execution is cancelled at once, and no later worker runs it", async () => {
    const id = await world.execute("core.noop");
    await cancel(id);
    expect(await world.execution(id)).toMatchObject({ status: "cancelled", reason: "cancelled by admin" });
    expect(await world.timeline(id)).toEqual([...scheduled, "scheduled>cancelled"]);
    const jobs = () => world.all(sql`select from attune_jobs.job where data ->> 'entity' = ${id}`);
    expect(await jobs()).toHaveLength(1);
    expect(await claim(await register("late"), 10)).toEqual({ claims: [], isMore: false });
    expect(await jobs()).toEqual([]);
    expect(await world.timeline(id)).toHaveLength(4);
  });

  test("reaches all descendants: waiting ones are cancelled, running ones are asked to stop, ended ones stay", async () => {
    const parent = await start(await register("w"));
    const child = (status: string, parentId: string) =>
      world.one<{ id: string }>(
        sql`insert into attune.execution (action_ref, on_worker_loss, trace_tag, status, parent, root, depth, finished_at)
          values ('core.noop', 'abandon', 't', ${status}, ${parentId}::bigint, ${parent}::bigint, 1,
            case when ${status} = 'failed' then now() end) returning id::text`,
      );
    const waiting = (await child("requested", parent)).id;
    const done = (await child("failed", waiting)).id;
    const descendant = (await child("scheduled", done)).id;
    await cancel(parent);
    const statuses = await Promise.all([parent, waiting, done, descendant].map((id) => world.execution(id)));
    expect(statuses.map(({ status }) => status)).toEqual(["canceling", "cancelled", "failed", "cancelled"]);
    await finish({ id: parent, attempt: 1 });
    expect((await world.execution(parent)).status).toBe("cancelled");
  });

  test("a missing execution is not found", async () => {
    await expect(cancel("987654321")).rejects.toMatchObject({ code: "NOT_FOUND", kind: "execution" });
  });
});

describe("claiming", () => {
  test("by two workers concurrently, 25 rounds: each execution is claimed once", async () => {
    const workers = [await register("one"), await register("two")] as const;
    const winners = new Set<string>();
    for (let round = 0; round < 25; round += 1) {
      const ids = await Promise.all([1, 2, 3].map(() => world.execute("core.noop")));
      const taken = await Promise.all(workers.map((worker) => claim(worker, 2)));
      // Together they may have left one: both read the same rows and skipped each other's.
      const rest = await claim(workers[0], 3);
      const claims = [...taken, rest].flatMap((each) => each.claims);
      expect(claims.map(({ id }) => id).sort()).toEqual(ids.sort());
      expect(claims.every(({ attempt }) => attempt === 1)).toBe(true);
      for (const { id } of claims) winners.add((await world.execution(id)).worker ?? "");
    }
    expect([...winners].sort()).toEqual(workers.map(({ id }) => id).sort());
  });

  test("an execution with a duplicate job is claimed once", async () => {
    const worker = await register("w");
    const id = await start(worker);
    await write(world.services, (tx) => tx.jobs.add(tx.db, "execution/core.action.builtin", [{ id }]));
    expect(await claim(worker, 10)).toEqual({ claims: [], isMore: false });
    expect(await world.execution(id)).toMatchObject({ status: "running", attempt: 1 });
  });
});

describe("a result", () => {
  test("of a lost attempt changes nothing, and the timeline records it", async () => {
    const id = await start(await register("lost"));
    await lose(id);
    const second = await claim(await register("second"), 1);
    expect(second.claims).toMatchObject([{ id, attempt: 2 }]);
    const before = await world.one(sql`select to_jsonb(e) as row from attune.execution e where id = ${id}::bigint`);
    expect(await finish({ id, attempt: 1, result: { data: "stale" } })).toEqual([false]);
    expect(await world.one(sql`select to_jsonb(e) as row from attune.execution e where id = ${id}::bigint`)).toEqual(
      before,
    );
    expect((await world.timeline(id)).at(-1)).toBe("running>running");
    expect(await lastReason(id)).toBe("late result of attempt 1 ignored: completed");
    expect(await finish({ id, attempt: 2, result: { data: "fresh" } })).toEqual([true]);
    expect(await world.execution(id)).toMatchObject({ status: "completed", result: { data: "fresh" } });
  });

  test("that is reported twice, or after the end, is applied once", async () => {
    const id = await start(await register("w"));
    expect(await finish({ id, attempt: 1 })).toEqual([true]);
    expect(await finish({ id, attempt: 1, status: "failed" })).toEqual([false]);
    expect((await world.execution(id)).status).toBe("completed");
    expect((await world.timeline(id)).slice(-2)).toEqual(["running>completed", "completed>completed"]);
  });

  test("of a batch is applied only to executions that accept it", async () => {
    const worker = await register("w");
    const ids = [await start(worker), await start(worker), await start(worker)];
    const common = { result: null, error: null, reason: null };
    const applied = await write(world.services, (tx) =>
      finishExecutions(tx, [
        ...ids.map((id, index) => ({ ...common, id, attempt: index === 1 ? 9 : 1, status: "completed" as const })),
        { ...common, id: "987654321", attempt: 1, status: "failed" as const },
      ]),
    );
    expect(applied).toEqual([true, false, true, false]);
    expect((await Promise.all(ids.map(world.execution))).map(({ status }) => status)).toEqual([
      "completed",
      "running",
      "completed",
    ]);
  });
});

describe("an execution whose worker is lost", () => {
  test("returns to the queue if its action allows it", async () => {
    const id = await start(await register("w"));
    expect(await lose(id)).toBe(1);
    expect(await world.execution(id)).toMatchObject({ status: "scheduled", worker: null, attempt: 1 });
    expect((await world.timeline(id)).at(-1)).toBe("running>scheduled");
    expect(await lastReason(id)).toBe("it was lost");
    expect((await claim(await register("next"), 1)).claims).toMatchObject([{ id, attempt: 2 }]);
  });

  test("is abandoned if it does not, with the reason", async () => {
    const id = await start(await register("w"));
    await world.all(sql`update attune.execution set on_worker_loss = 'abandon' where id = ${id}::bigint`);
    await lose(id);
    expect(await world.execution(id)).toMatchObject({
      status: "abandoned",
      error: { code: "WORKER_LOST", message: "it was lost" },
    });
    expect(await world.all(sql`select from attune_jobs.job where data ->> 'entity' = ${id}`)).toEqual([]);
  });

  test("is abandoned at the fifth attempt", async () => {
    const worker = await register("w");
    const id = await start(worker);
    for (let attempt = 2; attempt <= 5; attempt += 1) {
      await lose(id);
      expect((await claim(worker, 1)).claims).toMatchObject([{ id, attempt }]);
    }
    await lose(id);
    expect(await world.execution(id)).toMatchObject({ status: "abandoned", attempt: 5 });
  });

  test("is cancelled if that was requested", async () => {
    const id = await start(await register("w"));
    await cancel(id);
    await lose(id);
    expect(await world.execution(id)).toMatchObject({ status: "cancelled", error: null });
  });
});

test("cancelling a tree reaches what is below a deleted execution", async () => {
  const [root = "", middle = "", leaf = "", other = ""] = [
    await world.execute("core.noop"),
    await world.execute("core.noop"),
    await world.execute("core.noop"),
    await world.execute("core.noop"),
  ];
  await world.all(
    sql`update attune.execution set parent = ${root}::bigint, root = ${root}::bigint, depth = 1 where id = ${middle}::bigint`,
  );
  await world.all(
    sql`update attune.execution set parent = ${middle}::bigint, root = ${root}::bigint, depth = 2 where id = ${leaf}::bigint`,
  );
  await cancel(middle);
  expect((await world.execution(leaf)).status).toBe("cancelled");
  const orphan = other;
  await world.all(
    sql`update attune.execution set parent = ${middle}::bigint, root = ${root}::bigint, depth = 2 where id = ${orphan}::bigint`,
  );
  await commit(world.services, deleteExecution, world.session, { id: BigInt(middle) });
  expect(await world.one(sql`select parent from attune.execution where id = ${orphan}::bigint`)).toEqual({
    parent: null,
  });
  await cancel(root);
  expect((await world.execution(orphan)).status).toBe("cancelled");
});
