import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { findAction } from "../../src/execution/action.ts";
import { type Admission, admit } from "../../src/execution/admit.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { enqueue } from "../../src/execution/enqueue.ts";
import { requestExecutions } from "../../src/execution/execute.ts";
import { type ExecutionRequest, insertExecutions } from "../../src/execution/insert.ts";
import { sweep } from "../../src/executor/sweep.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let request: ExecutionRequest;
beforeAll(async () => {
  world = await createWorld();
  const action = await findAction(world.services.db, "core.noop");
  if (!action) throw new Error("the action core.noop is missing");
  request = {
    action,
    config: {},
    enforcement: null,
    executor: null,
    ruleRef: null,
    triggerRef: null,
    traceTag: null,
    generation: 0,
    timeoutSeconds: null,
    priority: 0,
  };
});
afterAll(() => world[Symbol.asyncDispose]());

const path = ["->requested", "requested>scheduling", "scheduling>scheduled"];

const insert = (admissions: Pick<Admission, "status" | "waitsFor">[]) =>
  write(world.services, (tx) =>
    insertExecutions(
      tx,
      admissions.map(() => request),
      admissions.map((admission) => ({ reason: null, error: null, ...admission })),
    ),
  );

/** The statuses that subscribers receive, in order. */
async function notified(id: string): Promise<string[]> {
  const steps = await world.all<{ step: string }>(
    sql`select coalesce(content ->> 'fromStatus', '-') || '>' || (content ->> 'toStatus') as step from attune.notification
      where channel = 'execution' and entity = ${id}::bigint order by id`,
  );
  return steps.map(({ step }) => step);
}

const jobsOf = (id: string) => world.all(sql`select from attune_jobs.job where data ->> 'entity' = ${id}`);

describe("requested executions", () => {
  test("are admitted, and pass through requested and scheduling before they are scheduled, each with one job", async () => {
    const priorities = [3, 1, 2];
    const ids = await write(world.services, (tx) =>
      requestExecutions(
        tx,
        priorities.map((priority) => ({ ...request, priority })),
      ),
    );
    for (const [index, id] of ids.entries()) {
      expect(
        await world.one(
          sql`select status, waits_for, priority, scheduled_at is not null as due, trace_tag
            from attune.execution where id = ${id}::bigint`,
        ),
      ).toEqual({
        status: "scheduled",
        waits_for: null,
        priority: priorities[index],
        due: true,
        trace_tag: `core.noop.${id}`,
      });
      expect(await world.timeline(id)).toEqual(path);
      expect(await notified(id)).toEqual(path);
      expect(await jobsOf(id)).toHaveLength(1);
      await commit(world.services, cancelExecution, world.session, { id: BigInt(id), reason: null });
    }
  });

  test("need as many statements for a hundred as for one", async () => {
    const { statements } = world.services;
    const count = async (size: number) => {
      statements.length = 0;
      const requests = Array.from({ length: size }, () => request);
      const ids = await write(world.services, (tx) => requestExecutions(tx, requests));
      expect(new Set(ids).size).toBe(size);
      return statements.filter((text) => /\binsert into\b/i.test(text)).length;
    };
    expect([await count(1), await count(100)]).toEqual([2, 2]);
    await world.all(
      sql`with gone as (delete from attune_jobs.job) delete from attune.execution where status = 'scheduled'`,
    );
  });

  test("of an empty list are none", async () => {
    expect(await write(world.services, (tx) => requestExecutions(tx, []))).toEqual([]);
    expect(await write(world.services, (tx) => admit(tx, []))).toEqual([]);
  });
});

describe("an execution that admission delays", () => {
  test.each([
    ["scheduling", "slot", 2],
    ["requested", "time", 1],
    ["requested", "retry", 1],
  ] as const)("as %s, waiting for %s, is inserted so beside another that passes", async (status, waitsFor, steps) => {
    const [passing = "", held = ""] = await insert([
      { status: "scheduled", waitsFor: null },
      { status, waitsFor },
    ]);
    expect(await world.execution(passing)).toMatchObject({ status: "scheduled", waitsFor: null });
    expect(await world.execution(held)).toMatchObject({ status, waitsFor });
    expect(await world.one(sql`select scheduled_at from attune.execution where id = ${held}::bigint`)).toEqual({
      scheduled_at: null,
    });
    expect(await world.timeline(held)).toEqual(path.slice(0, steps));
    expect(await notified(held)).toEqual(path.slice(0, steps));
  });

  test("is not queued, neither at once nor by the sweep; once admitted, it is claimed and completes", async () => {
    const [id = ""] = await insert([{ status: "scheduling", waitsFor: "tasks" }]);
    await world.all(sql`update attune.execution set created = now() - interval '1 hour' where id = ${id}::bigint`);
    expect(await sweep(world.services)).toMatchObject({ lost: 0, timedOut: 0, unschedulable: 0 });
    expect(await jobsOf(id)).toEqual([]);
    expect(await world.execution(id)).toMatchObject({ status: "scheduling", waitsFor: "tasks" });
    const worker = await world.startWorker();
    await write(world.services, async (tx) => {
      await tx.db.execute(
        sql`update attune.execution set status = 'scheduled', waits_for = null, scheduled_at = now() where id = ${id}::bigint`,
      );
      await enqueue(tx, [{ id, queue: "execution/core.action.builtin", priority: 0 }]);
    });
    expect(await world.ended(id)).toMatchObject({ status: "completed", waitsFor: null });
    expect(await world.timeline(id)).toEqual([...path, "scheduled>running", "running>completed"]);
    await worker.stop();
  });
});
