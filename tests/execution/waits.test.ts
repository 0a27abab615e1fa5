import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { deleteWorker } from "../../src/catalog/worker.ts";
import { write } from "../../src/db/tx.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { type ExecutionOutcome, finishExecutions } from "../../src/execution/finish.ts";
import { endParked, park } from "../../src/execution/parked.ts";
import { reportable, type WaitsFor } from "../../src/execution/states.ts";
import { sweep } from "../../src/executor/sweep.ts";
import { globalId } from "../../src/lib/global-id.ts";
import { createApi } from "../support/api.ts";
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
// Executions that a test leaves must not be claimed in the next.
afterEach(() =>
  world.all(
    sql`with gone as (delete from attune_jobs.job), alive as (update attune.worker set last_heartbeat = now())
      delete from attune.execution where not attune.is_terminal(status)`,
  ),
);

/** Creates an execution that the worker runs according to its row. */
async function running(): Promise<string> {
  const id = await world.execute("core.noop");
  const from = { runtimeRef: "core.action.builtin", limit: 1 };
  const { claims } = await write(world.services, (tx) => claimExecutions(tx, worker, from));
  expect(claims).toMatchObject([{ id, attempt: 1 }]);
  return id;
}

const parkIt = (id: string, attempt = 1) =>
  write(world.services, (tx) => park(tx, { id, attempt }, { waitsFor: "tasks", reason: "waits for its tasks" }));

async function parked(): Promise<string> {
  const id = await running();
  expect(await parkIt(id)).toBe(true);
  return id;
}

const end = (id: string, waitsFor: WaitsFor, status: ExecutionOutcome["status"]) =>
  write(world.services, (tx) =>
    endParked(tx, waitsFor, [{ id, status, data: null, error: null, reason: "the wait is over" }]),
  );

const report = (id: string) =>
  write(world.services, (tx) =>
    finishExecutions(tx, [{ id, attempt: 1, status: "completed", result: {}, error: null, reason: null }]),
  );

/** Updates the row as a verb would: a violated constraint is thrown as a refusal. */
const change = (id: string, set: string) =>
  write(world.services, (tx) =>
    tx.db.execute(sql`update attune.execution set ${sql.raw(set)} where id = ${id}::bigint`),
  );

const refusing = (path: string) => ({ code: "BAD_USER_INPUT", issues: [{ path }] });

describe("an execution in progress", () => {
  test("either has a worker or waits for something, never neither or both", async () => {
    const id = await running();
    await expect(change(id, "worker = null")).rejects.toMatchObject(refusing("worker"));
    await expect(change(id, "waits_for = 'inquiry'")).rejects.toMatchObject(refusing("waitsFor"));
    await expect(change(id, "worker = null, waits_for = 'luck'")).rejects.toMatchObject(refusing("waitsFor"));
    await change(id, "worker = null, waits_for = 'time'");
    await change(id, "status = 'canceling'");
    await expect(change(id, "waits_for = null")).rejects.toMatchObject(refusing("worker"));
    expect(await world.execution(id)).toMatchObject({ status: "canceling", worker: null, waitsFor: "time" });
  });

  test("prevents its worker from being deleted until it has ended", async () => {
    const other = await world.build("worker");
    const id = await running();
    await change(id, `worker = ${other.id}`);
    const remove = () =>
      write(world.services, (tx) => tx.db.execute(sql`delete from attune.worker where id = ${other.id}::bigint`));
    await expect(remove()).rejects.toMatchObject(refusing("worker"));
    expect(await report(id)).toEqual([true]);
    await remove();
    expect(await world.execution(id)).toMatchObject({ status: "completed", worker: null });
  });
});

test("a worker deleted while it claims, twenty times, is either deleted and runs nothing, or kept and runs", async () => {
  for (let round = 0; round < 20; round += 1) {
    const silent = await world.build("worker");
    const id = await world.execute("core.noop");
    const claim = () =>
      write(world.services, (tx) => claimExecutions(tx, silent, { runtimeRef: "core.action.builtin", limit: 1 }));
    const remove = () => commit(world.services, deleteWorker, world.session, { id: BigInt(silent.id) });
    const both = round % 2 === 0 ? [claim(), remove()] : [remove(), claim()];
    const refused = (await Promise.allSettled(both)).filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(1);
    const left = await world.all(sql`select from attune.worker where id = ${silent.id}::bigint`);
    const { status, worker: holder } = await world.execution(id);
    expect([status, holder]).toEqual(left.length > 0 ? ["running", silent.id] : ["scheduled", null]);
    await world.all(
      sql`with gone as (delete from attune_jobs.job) delete from attune.execution where id = ${id}::bigint`,
    );
  }
});

test("an execution that has ended or can be claimed waits for nothing else", async () => {
  const id = await parked();
  const ended = "status = 'failed', finished_at = now()";
  await expect(change(id, ended)).rejects.toMatchObject(refusing("waitsFor"));
  await expect(change(id, "status = 'scheduled'")).rejects.toMatchObject(refusing("waitsFor"));
  await change(id, `${ended}, waits_for = null`);
});

describe("a parked execution", () => {
  test("has no worker, waits, and is parked once, by its running attempt", async () => {
    const id = await running();
    expect(await parkIt(id, 2)).toBe(false);
    expect(await world.execution(id)).toMatchObject({ worker: worker.id, waitsFor: null });
    expect(await parkIt(id)).toBe(true);
    expect(await parkIt(id)).toBe(false);
    expect(await world.execution(id)).toMatchObject({
      status: "running",
      worker: null,
      waitsFor: "tasks",
      reason: "waits for its tasks",
    });
    expect((await world.timeline(id)).at(-1)).toBe("scheduled>running");
  });

  test("no longer belongs to its worker: a report changes nothing", async () => {
    const id = await parked();
    expect(await report(id)).toEqual([false]);
    expect(await world.execution(id)).toMatchObject({ status: "running", waitsFor: "tasks" });
    expect((await world.timeline(id)).at(-1)).toBe("running>running");
  });

  test("is not touched by the sweep, although its worker is lost", async () => {
    const id = await parked();
    await world.all(sql`update attune.worker set last_heartbeat = now() - interval '1 hour'`);
    const lost = await running();
    expect(await sweep(world.services)).toMatchObject({ lost: 1, timedOut: 0 });
    expect((await world.execution(lost)).status).not.toBe("running");
    expect(await world.execution(id)).toMatchObject({ status: "running", waitsFor: "tasks", attempt: 1 });
  });

  test.each(reportable.map((status) => [status]))("ends as %s when its wait ends", async (status) => {
    const id = await parked();
    const other = await running();
    expect(await end(id, "inquiry", status)).toEqual([]);
    expect(await end(other, "tasks", status)).toEqual([]);
    expect(await end(id, "tasks", status)).toEqual([id]);
    expect(await world.execution(id)).toMatchObject({ status, waitsFor: null, reason: "the wait is over" });
    expect(await world.execution(other)).toMatchObject({ status: "running", worker: worker.id });
    expect(await end(id, "tasks", status)).toEqual([]);
  });

  test("is ended by the sweep half a minute after its deadline, unless it has ended before", async () => {
    const id = await parked();
    await change(id, "deadline = now() - interval '29 seconds'");
    expect(await sweep(world.services)).toMatchObject({ timedOut: 0 });
    await change(id, "deadline = now() - interval '31 seconds'");
    expect(await sweep(world.services)).toMatchObject({ timedOut: 1 });
    expect(await world.execution(id)).toMatchObject({ status: "timeout", waitsFor: null, error: { code: "TIMEOUT" } });
  });
});

describe("cancelling", () => {
  const cancel = (id: string) =>
    commit(world.services, cancelExecution, world.session, { id: BigInt(id), reason: "enough" });

  test("ends a parked execution at once, and asks its running children to stop", async () => {
    const id = await parked();
    const child = await running();
    await change(child, `parent = ${id}, root = ${id}, depth = 1`);
    await cancel(id);
    expect(await world.execution(id)).toMatchObject({ status: "cancelled", waitsFor: null, reason: "enough" });
    expect((await world.timeline(id)).slice(-2)).toEqual(["running>canceling", "canceling>cancelled"]);
    expect(await world.execution(child)).toMatchObject({ status: "canceling", worker: worker.id });
    await expect(cancel(id)).rejects.toMatchObject({ code: "CONFLICT" });
  });

  test.each([
    ["requested", "time"],
    ["requested", "retry"],
    ["scheduling", "slot"],
  ])("ends one that is %s and waits for %s", async (status, waitsFor) => {
    const { id } = await world.one<{ id: string }>(
      sql`insert into attune.execution (action_ref, on_worker_loss, trace_tag, status, waits_for)
        values ('core.noop', 'abandon', 't', ${status}, ${waitsFor}) returning id::text`,
    );
    await cancel(id);
    expect(await world.execution(id)).toMatchObject({ status: "cancelled", waitsFor: null });
    expect((await world.timeline(id)).at(-1)).toBe(`${status}>cancelled`);
  });
});

test("the API shows what executions wait for, and filters by it", async () => {
  await using api = await createApi(world.services);
  const [waiting, busy] = [await parked(), await running()].map((id) => globalId("Execution", id));
  const { data } = await api.ask(
    world.session,
    `query ($waiting: ID!, $busy: ID!) {
      waiting: execution(id: $waiting) { status waitsFor worker { id } }
      busy: execution(id: $busy) { status waitsFor worker { name } }
      forTasks: executions(first: 5, where: {waitsFor: {eq: TASKS}}) { nodes { id } }
      forInquiry: executions(first: 5, where: {waitsFor: {in: [INQUIRY]}}) { nodes { id } }
      withWorker: executions(first: 5, where: {status: {eq: RUNNING}, waitsFor: {isNull: true}}) { nodes { id } }
    }`,
    { waiting, busy },
  );
  expect(data).toEqual({
    waiting: { status: "RUNNING", waitsFor: "TASKS", worker: null },
    busy: { status: "RUNNING", waitsFor: null, worker: { name: "w" } },
    forTasks: { nodes: [{ id: waiting }] },
    forInquiry: { nodes: [] },
    withWorker: { nodes: [{ id: busy }] },
  });
});
