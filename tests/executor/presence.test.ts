import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Db, rows } from "../../src/db/client.ts";
import { write } from "../../src/db/tx.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { notePresence } from "../../src/executor/presence.ts";
import { sweep } from "../../src/executor/sweep.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const nothing = { lost: 0, timedOut: 0, executions: 0, unschedulable: 0, admissions: 0 };

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());
afterEach(async () => {
  for (const table of ["attune_jobs.job", "attune.execution", "attune.worker", "attune.presence"]) {
    await world.all(sql`delete from ${sql.raw(table)}`);
  }
});

/** Moves everything that has a time into the past, as an outage of that length does. */
async function away(seconds: number): Promise<void> {
  const ago = `interval '${seconds} seconds'`;
  await write(world.services, async (tx) => {
    await tx.db.execute(sql`set local session_replication_role = replica`);
    for (const set of [
      `presence set created = created - ${ago}, seen_until = seen_until - ${ago}`,
      `worker set last_heartbeat = last_heartbeat - ${ago}`,
      `execution set created = created - ${ago}, updated = updated - ${ago}, scheduled_at = scheduled_at - ${ago}, deadline = deadline - ${ago}`,
    ]) {
      await tx.db.execute(sql.raw(`update attune.${set}`));
    }
  });
}

/** Stores that the database has been there for that long after an outage that began `agoSeconds` ago. */
async function present(forSeconds: number): Promise<void> {
  await world.all(
    sql`update attune.presence set created = now() - make_interval(secs => ${forSeconds}::float8), seen_until = now()
      where id = (select max(id) from attune.presence)`,
  );
}

const timePresent = async (agoSeconds: number, db: Db = world.services.db) =>
  (
    (
      await rows<{ seconds: number }>(
        db,
        sql`select extract(epoch from attune.time_present(now() - make_interval(secs => ${agoSeconds}::float8)))::float8 as seconds`,
      )
    )[0] as { seconds: number }
  ).seconds;

/** The time present at the instant of a note. */
const timePresentAtNote = (agoSeconds: number) =>
  write(world.services, async ({ db }) => {
    await notePresence(db);
    return timePresent(agoSeconds, db);
  });

describe("an outage of the database", () => {
  test("longer than the lease loses no worker, and what finished meanwhile is stored", async () => {
    const executor = world.startExecutor();
    const worker = await world.startWorker();
    const id = await world.execute("core.sleep", { seconds: 1 });
    await until(async () => (await world.execution(id)).status === "running", "the start");
    await until(async () => (await world.all(sql`select from attune.presence`)).length > 0, "the presence");
    await away(150);
    expect(await sweep(world.services)).toEqual(nothing); // before the outage was noticed
    await notePresence(world.services.db);
    expect(await sweep(world.services)).toEqual(nothing);
    expect(await world.ended(id)).toMatchObject({ status: "completed", attempt: 1 });
    await worker.stop();
    await executor.stop();
  });

  test("gives a silent worker the rest of its lease afterwards, and no more", async () => {
    await notePresence(world.services.db);
    await world.all(sql`insert into attune.worker (name, worker_type, status, last_heartbeat)
      values ('w', 'remote', 'active', now())`);
    await away(150);
    const status = async () => (await world.one<{ status: string }>(sql`select status from attune.worker`)).status;
    await notePresence(world.services.db);
    await present(29);
    await sweep(world.services);
    expect(await status()).toBe("active");
    await present(31);
    await sweep(world.services);
    expect(await status()).toBe("error");
  });

  test("ends no execution whose deadline passed meanwhile until its worker had half a minute to report", async () => {
    await notePresence(world.services.db);
    const worker = await world.workerRow({ worker_type: "remote" });
    await world.execute("core.noop", {}, 60);
    await write(world.services, (tx) => claimExecutions(tx, worker, { runtimeRef: "core.action.builtin", limit: 1 }));
    await away(150);
    await notePresence(world.services.db);
    expect(await sweep(world.services)).toEqual(nothing);
    await world.all(sql`update attune.worker set last_heartbeat = now()`);
    await present(31);
    expect(await sweep(world.services)).toEqual({ ...nothing, timedOut: 1 });
  });

  test("fails no waiting execution for lack of a worker before the workers had time to come back", async () => {
    await notePresence(world.services.db);
    const id = await world.execute("core.noop");
    await away(360);
    await notePresence(world.services.db);
    expect(await sweep(world.services)).toEqual(nothing);
    await present(301);
    expect(await sweep(world.services)).toMatchObject({ unschedulable: 1 });
    expect((await world.execution(id)).status).toBe("failed");
  });

  test("longer than periods are kept still does not count", async () => {
    await notePresence(world.services.db);
    await away(3 * 86_400);
    await notePresence(world.services.db);
    expect(await timePresentAtNote(2 * 86_400)).toBeLessThan(5);
  });

  test("is noticed by several executors at once without counting time twice", async () => {
    expect(await notePresence(world.services.db)).toBeNull();
    expect(await notePresence(world.services.db)).toBeNull();
    await away(150);
    const reported = await Promise.all([1, 2, 3, 4].map(() => notePresence(world.services.db)));
    expect(Math.max(...reported.map((seconds) => seconds ?? 0))).toBeGreaterThan(149);
    await world.all(
      sql`update attune.presence set created = now() - interval '20 seconds', seen_until = now()
        where created > now() - interval '1 minute'`,
    );
    const atNote = await write(world.services, async ({ db }) => {
      await notePresence(db);
      return [await timePresent(10, db), await timePresent(100, db), await timePresent(0, db)];
    });
    // The period began 20 seconds before its update, which is a while ago on a busy machine.
    expect(atNote).toEqual([expect.closeTo(10, 1), expect.closeTo(20, -1), expect.closeTo(0, 1)]);
  });
});

test("all time counts before an executor first saw the database", async () => {
  expect(await timePresent(90)).toBeCloseTo(90, 3);
  expect(await timePresentAtNote(90)).toBeCloseTo(90, 3);
});
