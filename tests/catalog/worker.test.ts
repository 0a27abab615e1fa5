import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deleteWorker, setCordoned } from "../../src/catalog/worker.ts";
import { write } from "../../src/db/tx.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const cordon = (id: string, cordoned: boolean) =>
  commit(world.services, setCordoned, world.session, { id: BigInt(id), cordoned });
const remove = (id: string) => commit(world.services, deleteWorker, world.session, { id: BigInt(id) });

/** Whether the worker's claim is refused; false if there was no job to claim. */
async function isRefused(id: string): Promise<boolean> {
  const from = { runtimeRef: "core.action.builtin", limit: 1 };
  try {
    const { claims } = await write(world.services, (tx) => claimExecutions(tx, { id, name: "w" }, from));
    expect(claims).toEqual([]);
    return false;
  } catch (error) {
    expect(error).toMatchObject({ code: "CONFLICT" });
    return true;
  }
}

describe("a cordoned worker", () => {
  test("claims no later executions, and claims them once it is uncordoned", async () => {
    const runningWorker = await world.startWorker();
    const { id } = await world.one<{ id: string }>(sql`select id::text from attune.worker where status = 'active'`);
    expect((await world.ended(await world.execute("core.noop"))).worker).toBe(id);
    for (let round = 0; round < 5; round += 1) {
      await cordon(id, true);
      const waiting = await Promise.all([world.execute("core.noop"), world.execute("core.noop")]);
      // The worker was woken for them and also tries to claim: while it holds their jobs, this claim finds none to be refused.
      await until(() => isRefused(id), "the refusal");
      for (const each of waiting)
        expect(await world.execution(each)).toMatchObject({ status: "scheduled", attempt: 0 });
      await cordon(id, false);
      for (const each of waiting) expect(await world.ended(each)).toMatchObject({ status: "completed", attempt: 1 });
    }
    await runningWorker.stop();
  });

  test("continues its running executions", async () => {
    const runningWorker = await world.startWorker();
    const { id } = await world.one<{ id: string }>(sql`select id::text from attune.worker where status = 'active'`);
    const running = await world.execute("core.sleep", { seconds: 0.3 });
    await until(async () => (await world.execution(running)).status === "running", "the start");
    await cordon(id, true);
    await expect(remove(id)).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("has running executions"),
    });
    expect(await world.ended(running)).toMatchObject({ status: "completed" });
    await expect(remove(id)).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("alive") });
    await runningWorker.stop();
    await remove(id);
    expect(await world.execution(running)).toMatchObject({ status: "completed", worker: null });
    await expect(remove(id)).rejects.toMatchObject({ code: "NOT_FOUND", kind: "worker" });
    await expect(cordon(id, true)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

test("a worker is busy exactly while all of its slots are taken", async () => {
  const runningWorker = await world.startWorker(2);
  const status = async () => {
    const { status } = await world.one<{ status: string }>(
      sql`select status from attune.worker where status <> 'inactive' order by id desc limit 1`,
    );
    return status;
  };
  const hold = () => world.execute("core.shell", { command: "until [ -e released ]; do sleep 0.05; done" });
  const one = await hold();
  await until(async () => (await world.execution(one)).status === "running", "the first execution");
  expect(await status()).toBe("active");
  const two = await hold();
  await until(async () => (await status()) === "busy", "the worker is busy", 5000); // sooner than its next heartbeat
  await commit(world.services, cancelExecution, world.session, { id: BigInt(one), reason: null });
  await until(async () => (await status()) === "active", "the worker has a free slot", 5000);
  await commit(world.services, cancelExecution, world.session, { id: BigInt(two), reason: null });
  await world.ended(two);
  await runningWorker.stop();
});

test("a user who may not read a worker does not learn that it exists", async () => {
  const { id } = await world.build("worker");
  const cordonAs = (...grants: { resource: string; actions: string[] }[]) =>
    commit(world.services, setCordoned, { ...world.session, grants }, { id: BigInt(id), cordoned: true });
  await expect(cordonAs()).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(cordonAs({ resource: "worker", actions: ["read"] })).rejects.toMatchObject({ code: "FORBIDDEN" });
  await cordonAs({ resource: "worker", actions: ["cordon"] });
});
