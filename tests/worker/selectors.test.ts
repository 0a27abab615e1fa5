import { sql } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createAction, updateAction } from "../../src/catalog/action.ts";
import { prepareAction } from "../../src/catalog/queues.ts";
import { drainWorker, setCordoned } from "../../src/catalog/worker.ts";
import { sweep } from "../../src/executor/sweep.ts";
import { commit } from "../support/commit.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const directories = packDirectories();
let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world[Symbol.asyncDispose]());

const startLabelled = (labels: Record<string, string>, runtimeSlots: Record<string, number> = {}) =>
  world.startWorker(10, 5000, [], {}, { labels, runtimeSlots: new Map(Object.entries(runtimeSlots)) });

/** Creates an action that does nothing on a worker with these labels. */
async function selecting(ref: string, workerSelector: Record<string, string>): Promise<string> {
  const input = { ref, runtime: "core.action.builtin", entrypoint: "core.noop", workerSelector };
  await prepareAction(world.services, input);
  await commit(world.services, createAction, world.session, input);
  return ref;
}

const labelsOf = async (id: string) =>
  (
    await world.one<{ labels: Record<string, string> }>(
      sql`select w.capabilities -> 'labels' as labels from attune.execution e join attune.worker w on w.id = e.worker
        where e.id = ${id}::bigint`,
    )
  ).labels;

describe("an action with a selector", () => {
  test("runs on workers that have its labels, and only there", async () => {
    await startLabelled({ zone: "eu" });
    await startLabelled({ zone: "us", gpu: "yes" });
    const [both, gpu, plain] = [
      await selecting("default.both", { gpu: "yes", zone: "us" }),
      await selecting("default.gpu", { gpu: "yes" }),
      "core.noop",
    ];
    const ids = await Promise.all([both, gpu, both, gpu, plain, plain].map((ref) => world.execute(ref)));
    for (const id of ids) expect(await world.ended(id)).toMatchObject({ status: "completed" });
    for (const id of ids.slice(0, 4)) expect(await labelsOf(id)).toMatchObject({ zone: "us", gpu: "yes" });
  });

  test("waits for a worker with its labels, and starts at once when one comes", async () => {
    await startLabelled({ zone: "eu" });
    const id = await world.execute(await selecting("default.waits", { zone: "us" }));
    expect(await world.ended(await world.execute("core.noop"))).toMatchObject({ status: "completed" });
    expect((await world.execution(id)).status).toBe("scheduled");
    await startLabelled({ zone: "us" });
    expect(await world.ended(id)).toMatchObject({ status: "completed" });
  });

  test("may select a worker by its host", async () => {
    await startLabelled({});
    const [worker] = await world.all<{ host: string }>(sql`select host from attune.worker`);
    const here = await world.execute(await selecting("default.here", { host: worker?.host ?? "" }));
    const elsewhere = await world.execute(await selecting("default.elsewhere", { host: "another.example.org" }));
    expect(await world.ended(here)).toMatchObject({ status: "completed" });
    expect((await world.execution(elsewhere)).status).toBe("scheduled");
  });

  test("of a pack's files, and one that is changed by hand, is selected in the same way", async () => {
    await startLabelled({ gpu: "yes" });
    const files = {
      "pack.yaml": "ref: chosen\nlabel: Chosen\nversion: 1.0.0\n",
      "actions/say.yaml":
        "ref: chosen.say\nlabel: Say\nrunner_type: shell\nentry_point: actions/say.sh\nworker_selector: {gpu: 'yes'}\n",
      "actions/say.sh": "echo chosen\n",
    };
    await loadDirectory(world.services, directories(files));
    const said = await world.execute("chosen.say");
    expect(await world.ended(said)).toMatchObject({ status: "completed" });

    const ref = await selecting("default.changed", { gpu: "no" });
    const before = await world.execute(ref);
    const patch = { workerSelector: { gpu: "yes" } };
    await prepareAction(world.services, { ref, ...patch });
    await commit(world.services, updateAction, world.session, { ref, patch });
    expect(await world.ended(await world.execute(ref))).toMatchObject({ status: "completed" });
    expect((await world.execution(before)).status).toBe("scheduled"); // it keeps what it was requested with
  });

  test("is refused when its queue was not opened, instead of waiting for ever", async () => {
    const input = { ref: "default.raced", runtime: "core.action.builtin", entrypoint: "core.noop" };
    const raced = commit(world.services, createAction, world.session, {
      ...input,
      workerSelector: { never: "opened" },
    });
    await expect(raced).rejects.toThrow("at the same time: try again");
  });

  test("goes back to its own queue when its worker is lost", async () => {
    const ref = await selecting("default.lost", { zone: "us" });
    const id = await world.execute(ref);
    const row = await world.workerRow();
    await world.services.db.execute(
      sql`update attune.execution set status = 'running', attempt = 1, worker = ${row.id}::bigint, on_worker_loss = 'requeue',
        started_at = now() where id = ${id}::bigint`,
    );
    await world.services.db.execute(
      sql`update attune.worker set last_heartbeat = now() - interval '1 day' where id = ${row.id}::bigint`,
    );
    await world.services.db.execute(sql`delete from attune.presence`);
    await world.services.db.execute(
      sql`insert into attune.presence (created, seen_until) values (now() - interval '1 day', now())`,
    );
    await startLabelled({ zone: "eu" });
    await sweep(world.services);
    expect((await world.execution(id)).status).toBe("scheduled");
    await startLabelled({ zone: "us" });
    expect(await world.ended(id)).toMatchObject({ status: "completed" });
  });

  test("is found after a restart of the server", async () => {
    const location = world.services.location;
    await world.services.db.execute(
      sql`update attune.action set worker_selector = '{"zone": "mars"}' where ref = 'core.noop'`,
    );
    await world[Symbol.asyncDispose]();
    await using server = await startInProcess(location, { ATTUNE__WORKER__LABELS: "zone=mars" });
    const document = `mutation { executeAction(input: {action: "core.noop"}) { ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`;
    const { executeAction } = await request<{ executeAction: { execution: { id: string } } }>(server, document);
    const { id } = executeAction.execution;
    const status = async () =>
      (
        await request<{ execution: { status: string } }>(server, "query ($id: ID!) { execution(id: $id) { status } }", {
          id,
        })
      ).execution.status;
    await until(async () => (await status()) === "COMPLETED", "its end");
    world = await createWorld();
  });
});

describe("an execution that no worker can take", () => {
  /** Fails what waits, as if the time for it were over. */
  async function giveUp(id: string) {
    await world.services.db.execute(sql`delete from attune.presence`);
    await world.services.db.execute(
      sql`insert into attune.presence (created, seen_until) values (now() - interval '1 day', now())`,
    );
    await world.services.db.execute(
      sql`update attune.execution set scheduled_at = now() - interval '6 minutes' where id = ${id}::bigint`,
    );
    await sweep(world.services);
    return await world.execution(id);
  }

  test("fails, and says which labels are missing, or that all workers are cordoned", async () => {
    await startLabelled({ zone: "eu" });
    const id = await world.execute(await selecting("default.nowhere", { zone: "us", gpu: "yes" }));
    expect(await giveUp(id)).toMatchObject({
      status: "failed",
      error: {
        code: "UNSCHEDULABLE",
        message: "no worker with the runtime core.action.builtin has the labels gpu=yes, zone=us",
      },
    });
    const [worker] = await world.all<{ id: string }>(sql`select id::text from attune.worker`);
    await commit(world.services, setCordoned, world.session, { id: BigInt(worker?.id ?? 0), cordoned: true });
    const cordoned = await giveUp(await world.execute("core.noop"));
    expect(cordoned).toMatchObject({ error: { message: "every worker that could run it is cordoned" } });
  });

  test("fails only after the time that the setting gives", async () => {
    world.services.scheduleSeconds = 3600;
    const id = await world.execute("core.noop");
    expect((await giveUp(id)).status).toBe("scheduled");
    world.services.scheduleSeconds = 300;
    expect((await giveUp(id)).status).toBe("failed");
  });
});

test("the slots of one runtime are limited, while others use the rest", async () => {
  await startLabelled({}, { "core.action.shell": 2 });
  const directory = directories({});
  const command = `mkdir "${directory}/$ATTUNE_EXEC_ID"; ls ${directory} | wc -l; sleep 0.3; rmdir "${directory}/$ATTUNE_EXEC_ID"`;
  const ids = await Promise.all(Array.from({ length: 7 }, () => world.execute("core.shell", { command })));
  for (const id of ids) {
    expect(await world.ended(id)).toMatchObject({ status: "completed" });
    expect(Number(await world.log(id, "stdout"))).toBeLessThanOrEqual(2);
  }
  expect(await world.all(sql`select capabilities -> 'runtime_slots' as slots from attune.worker`)).toEqual([
    { slots: { "core.action.shell": 2 } },
  ]);
});

describe("a drained worker", () => {
  const workerId = async () => BigInt((await world.one<{ id: string }>(sql`select id::text from attune.worker`)).id);

  test("claims nothing, hands back what still runs after its grace, and takes work again once it is uncordoned", async () => {
    await startLabelled({});
    const [kept, lost] = [
      await world.execute("core.shell", { command: "sleep 61" }),
      await world.execute("core.shell", { command: "sleep 62" }),
    ];
    for (const id of [kept, lost])
      await until(async () => (await world.execution(id)).status === "running", "its start");
    await world.services.db.execute(
      sql`update attune.execution set on_worker_loss = 'requeue' where id = ${kept}::bigint`,
    );
    const id = await workerId();
    await commit(world.services, drainWorker, world.session, { id, graceSeconds: 1 });
    const later = await world.execute("core.noop");
    expect(await world.ended(lost)).toMatchObject({
      status: "abandoned",
      error: { code: "WORKER_LOST", message: "the worker was drained" },
    });
    expect(await world.execution(kept)).toMatchObject({ status: "scheduled", reason: "the worker was drained" });
    expect((await world.execution(later)).status).toBe("scheduled");

    await commit(world.services, setCordoned, world.session, { id, cordoned: false });
    expect(await world.one(sql`select cordoned, drains_at from attune.worker`)).toEqual({
      cordoned: false,
      drains_at: null,
    });
    expect(await world.ended(later)).toMatchObject({ status: "completed" });
    await until(async () => (await world.execution(kept)).attempt === 2, "its second attempt");
  });

  test("lets what ends within its grace end", async () => {
    await startLabelled({});
    const id = await world.execute("core.shell", { command: "sleep 0.5; echo done" });
    await until(async () => (await world.execution(id)).status === "running", "its start");
    await commit(world.services, drainWorker, world.session, { id: await workerId(), graceSeconds: 30 });
    expect(await world.ended(id)).toMatchObject({ status: "completed" });
  });

  test.each([-1, 604_801])("cannot get %i s", async (graceSeconds) => {
    const { id } = await world.workerRow();
    const drained = commit(world.services, drainWorker, world.session, { id: BigInt(id), graceSeconds });
    await expect(drained).rejects.toThrow("graceSeconds");
  });
});
