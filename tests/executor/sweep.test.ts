import { spawn } from "node:child_process";
import { once } from "node:events";
import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { sweep } from "../../src/executor/sweep.ts";
import { executionVariable, ownName, workerVariable } from "../../src/lib/action-processes.ts";
import { globalId } from "../../src/lib/global-id.ts";
import { type ProcessIdentity, thisProcess } from "../../src/lib/process-identity.ts";
import { removeAll } from "../../src/retention/pass.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const nothing = { lost: 0, timedOut: 0, executions: 0, unschedulable: 0, admissions: 0 };
/** Above the highest process id of Linux. */
const noSuchPid = 4_194_305;

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());
afterEach(async () => {
  for (const table of ["attune_jobs.job", "attune.execution", "attune.event", "attune.worker", "attune.presence"]) {
    await world.all(sql`delete from ${sql.raw(table)}`);
  }
});

/** Updates executions without triggers, which would set times or refuse the change. */
async function rewrite(set: string): Promise<void> {
  await write(world.services, async (tx) => {
    await tx.db.execute(sql`set local session_replication_role = replica`);
    await tx.db.execute(sql.raw(`update attune.execution set ${set}`));
  });
}

async function register(process: ProcessIdentity | null, beat = "0 seconds"): Promise<{ id: string; name: string }> {
  return await world.one(
    sql`insert into attune.worker (name, worker_type, status, last_heartbeat, meta, capabilities)
      values ('w', 'local', 'active', now() - ${beat}::interval, ${JSON.stringify({ process })}::text::jsonb,
        '{"runtimes": {"core.action.builtin": {}}}') returning id::text, name`,
  );
}

/** Creates an execution of core.noop that the worker runs according to its row. */
async function running(worker: { id: string; name: string }): Promise<string> {
  const id = await world.execute("core.noop");
  await write(world.services, (tx) => claimExecutions(tx, worker, { runtimeRef: "core.action.builtin", limit: 1 }));
  expect((await world.execution(id)).status).toBe("running");
  return id;
}

const statusOf = async (worker: { id: string }) =>
  (await world.one<{ status: string }>(sql`select status from attune.worker where id = ${worker.id}::bigint`)).status;

describe("the sweep", () => {
  test("finds nothing to do in a consistent state", async () => {
    await running(await register(thisProcess()));
    await world.execute("core.noop");
    await world.event(await world.trigger());
    expect(await sweep(world.services)).toEqual(nothing);
  });

  test("takes executions from dead or silent workers, and leaves those of live workers", async () => {
    const self = thisProcess();
    const killed = await register({ ...self, pid: noSuchPid });
    const reborn = await register({ ...self, started: "1" });
    const silent = await register(self, "31 seconds");
    const remote = await register({ ...self, host: "elsewhere", pid: noSuchPid });
    const alive = await register(self, "15 seconds");
    const held = new Map<string, string>();
    for (const worker of [killed, reborn, silent, remote, alive]) held.set(worker.id, await running(worker));
    expect(await sweep(world.services)).toEqual({ ...nothing, lost: 3 });
    const outcome = async (worker: { id: string }) =>
      [(await world.execution(held.get(worker.id) ?? "")).status, await statusOf(worker)].join();
    for (const worker of [killed, reborn, silent]) expect(await outcome(worker)).toBe("scheduled,error");
    for (const worker of [remote, alive]) expect(await outcome(worker)).toBe("running,active");
    expect(await sweep(world.services)).toEqual(nothing);
  });

  test("recreates deleted jobs: everything finishes, once", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger);
    const events = [await world.event(trigger), await world.event(trigger)];
    const byHand = [await world.execute("core.noop"), await world.execute("core.echo", { message: "x" })];
    await world.all(sql`delete from attune_jobs.job`);
    // An entity younger than ten seconds may be about to get its job and is skipped.
    expect(await sweep(world.services)).toEqual(nothing);
    await rewrite("updated = updated - interval '11 seconds'");
    expect(await sweep(world.services)).toEqual({ ...nothing, executions: 2 });
    expect(await sweep(world.services)).toEqual(nothing);
    const parts = [world.startExecutor(), await world.startWorker()];
    for (const id of byHand) expect((await world.ended(id)).status).toBe("completed");
    const count = sql`select count(distinct e.id)::int as events, count(f.id)::int as enforcements,
      count(x.id) filter (where x.status = 'completed')::int as completed from attune.event e
      join attune.enforcement f on f.event = e.id join attune.execution x on x.enforcement = f.id`;
    await until(async () => (await world.one<{ completed: number }>(count)).completed === events.length, "both events");
    expect(await world.one(count)).toEqual({ events: 2, enforcements: 2, completed: 2 });
    for (const part of parts) await part.stop();
  });

  test("ends executions half a minute past their deadline that their worker did not end", async () => {
    const worker = await register(thisProcess());
    const [late, cancelled, due] = [await running(worker), await running(worker), await running(worker)];
    await world.all(sql`update attune.execution set status = 'canceling' where id = ${cancelled}::bigint`);
    await rewrite(`deadline = now() - interval '31 seconds' where id <> ${due}`);
    await rewrite(`deadline = now() - interval '29 seconds' where id = ${due}`);
    expect(await sweep(world.services)).toEqual({ ...nothing, timedOut: 2 });
    expect(await world.execution(late)).toMatchObject({ status: "timeout", error: { code: "TIMEOUT" } });
    expect(await world.execution(cancelled)).toMatchObject({ status: "cancelled" });
    expect(await world.execution(due)).toMatchObject({ status: "running" });
  });

  test("fails executions that no worker could claim for five minutes, and names the missing runtime", async () => {
    await register(thisProcess());
    const [python, takeable] = [await pythonExecution(), await world.execute("core.noop")];
    await rewrite("scheduled_at = now() - interval '4 minutes 50 seconds'");
    expect(await sweep(world.services)).toEqual(nothing);
    await rewrite("scheduled_at = now() - interval '5 minutes 1 second'");
    expect(await sweep(world.services)).toEqual({ ...nothing, unschedulable: 1 });
    const missing = "no worker with the runtime core.action.python";
    expect(await world.execution(python)).toMatchObject({
      status: "failed",
      reason: missing,
      error: { code: "UNSCHEDULABLE", message: missing },
    });
    expect((await world.timeline(python)).at(-1)).toBe("scheduled>failed");
    expect((await world.execution(takeable)).status).toBe("scheduled");
  });

  test("ends what a worker of this host left of an overdue execution before others get its slot", async () => {
    const id = await running(await register(thisProcess()));
    const other = await running(await register(thisProcess()));
    const start = (execution: string) =>
      spawn("sleep", ["63"], {
        detached: true,
        env: {
          PATH: "/usr/bin:/bin",
          [executionVariable]: globalId("Execution", execution),
          [workerVariable]: ownName(),
        },
      });
    const [left, kept] = [start(id), start(other)];
    const ended = once(left, "exit");
    await rewrite(`deadline = now() - interval '31 seconds' where id = ${id}`);
    expect(await sweep(world.services)).toEqual({ ...nothing, timedOut: 1 });
    expect(await ended).toEqual([null, "SIGKILL"]);
    expect(kept.exitCode ?? kept.signalCode).toBeNull();
    kept.kill("SIGKILL");
    expect((await world.execution(id)).reason).toBe("the deadline passed and nothing ended it");
  });

  test("fails executions that wait for a deleted action", async () => {
    await register(thisProcess());
    const id = await pythonExecution();
    await world.all(sql`delete from attune.action where ref = 'default.python'`);
    await rewrite("scheduled_at = now() - interval '5 minutes 1 second'");
    expect(await sweep(world.services)).toMatchObject({ unschedulable: 1 });
    expect((await world.execution(id)).reason).toBe("its action no longer exists");
  });

  test("by several executors concurrently repairs each row once", async () => {
    const worker = await register({ ...thisProcess(), pid: noSuchPid });
    const ids = [await running(worker), await running(worker)];
    const reports = await Promise.all([1, 2, 3].map(() => sweep(world.services)));
    expect(reports.reduce((sum, { lost }) => sum + lost, 0)).toBe(2);
    for (const id of ids)
      expect((await world.timeline(id)).filter((step) => step === "running>scheduled")).toHaveLength(1);
  });
});

async function pythonExecution(): Promise<string> {
  await world.all(
    sql`insert into attune.action (ref, label, entrypoint, is_adhoc, runtime)
      select 'default.python', 'p', 'p.py', true, id from attune.runtime where ref = 'core.action.python'
      on conflict do nothing`,
  );
  return await world.execute("default.python");
}

test("notifications older than seven days are removed, and one row records the last removed id", async () => {
  await world.rule(await world.trigger());
  await world.all(sql`update attune.notification set created = now() - interval '8 days' where id <= 3`);
  const [last] = await world.all(sql`select max(id)::text as id from attune.notification where id <= 3`);
  await removeAll(world.services, "notifications");
  expect(await world.all(sql`select id from attune.notification where id <= 3`)).toEqual([]);
  expect(await world.one(sql`select count(*)::int > 0 as kept from attune.notification`)).toEqual({ kept: true });
  const pruned = sql`select pruned_id::text as id from attune.notification_retention`;
  expect(await world.one(pruned)).toEqual(last);
  await removeAll(world.services, "notifications");
  expect(await world.one(pruned)).toEqual(last);
});

test("deliveries to webhooks older than seven days are removed, except the ids of signed ones", async () => {
  const trigger = await world.trigger();
  await world.all(
    sql`insert into attune.webhook_delivery (trigger, created, status_code, error, duration_ms, size, hmac_verified, delivery_id)
      select t.id, now() - old.age, d.status, d.error, 1, 2, d.verified, d.name || old.age
      from attune.trigger t, (values (interval '8 days'), (interval '6 days')) old (age),
        (values ('unsigned', 202, null, null::boolean), ('signed', 202, null, true), ('refused', 401, 'wrong', false)) d (name, status, error, verified)
      where t.ref = ${trigger}`,
  );
  await world.all(
    sql`insert into attune.webhook_delivery (trigger, created, status_code, duration_ms, size, hmac_verified)
      select id, now() - interval '8 days', 202, 1, 2, true from attune.trigger where ref = ${trigger}`,
  );
  await removeAll(world.services, "deliveries");
  const left = await world.all<{ name: string | null }>(
    sql`select delivery_id as name from attune.webhook_delivery d join attune.trigger t on t.id = d.trigger
      where t.ref = ${trigger} order by 1`,
  );
  expect(left.map(({ name }) => name)).toEqual(["refused6 days", "signed6 days", "signed8 days", "unsigned6 days"]);
});
