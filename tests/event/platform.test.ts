import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deleteKey, setKey } from "../../src/access/key.ts";
import { rotateEncryptionKey } from "../../src/access/rotate.ts";
import { setEnabled } from "../../src/access/rows.ts";
import { write } from "../../src/db/tx.ts";
import { emitPlatformEvents, reportAlert } from "../../src/event/platform.ts";
import { startPlatformEvents } from "../../src/executor/platform.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { commit } from "../support/commit.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const directories = packDirectories();
let world: World;

beforeAll(async () => {
  world = await createWorld();
  world.startExecutor(200);
  await world.startWorker();
}, 30_000);
afterAll(() => world[Symbol.asyncDispose]());

const eventsOf = (trigger: string) =>
  world.all<{ payload: Record<string, unknown>; cause: string | null; generation: number }>(
    sql`select payload, cause_execution::text as cause, generation from attune.event where trigger_ref = ${trigger} order by id`,
  );
const payloads = async (trigger: string) => (await eventsOf(trigger)).map(({ payload }) => payload);
const arrived = async (trigger: string, count: number) => {
  await until(async () => (await eventsOf(trigger)).length >= count, `${count} events of ${trigger}`);
  return await payloads(trigger);
};
const told = () => world.all<{ ref: string }>(sql`select trigger_ref as ref from attune.platform_event`);
const idOf = (type: string, id: string) => Buffer.from(`${type}:${id}`).toString("base64");

describe("what happens to the platform", () => {
  test("is not recorded unless an enabled rule wants to know it", async () => {
    await world.ended(await world.execute("core.noop"));
    expect(await told()).toEqual([]);
    const rule = await world.rule("core.worker_lost", { enabled: false });
    await world.all(sql`update attune.worker set status = 'error' where false`);
    expect([rule, await told()]).toEqual([expect.any(String), []]);
  });

  test("an execution that has ended is an event, and what its rule starts is none", async () => {
    const rule = await world.rule("core.execution_ended", {
      action: "core.echo",
      actionParams: { message: "{{ event.payload.status }}" },
    });
    const id = await world.execute("core.fail", {});
    await world.ended(id);
    expect(await arrived("core.execution_ended", 1)).toEqual([
      { execution: idOf("Execution", id), action: "core.fail", status: "failed", attempt: 1 },
    ]);
    expect(await eventsOf("core.execution_ended")).toMatchObject([{ cause: id, generation: 1 }]);
    const started = await until(
      async () =>
        (await world.all<{ id: string }>(sql`select id::text from attune.execution where rule_ref = ${rule}`))[0],
      "its rule's execution",
    );
    await world.ended(started.id);
    // What is told is written when the execution ends.
    expect([await told(), (await eventsOf("core.execution_ended")).length]).toEqual([[], 1]);
    await world.all(sql`update attune.rule set enabled = false where ref = ${rule}`);
  });

  test("an inquiry, a lost worker, a key, a pack and a crashed sensor are events", async () => {
    for (const name of ["inquiry_opened", "worker_lost", "key_changed", "pack_loaded", "sensor_crashed"])
      await world.rule(`core.${name}`);

    const asking = await world.execute("core.inquire", { prompt: "Go?", assigned_role: "on_call" });
    const inquiry = await until(
      async () =>
        (
          await world.all<{ id: string }>(sql`select id::text from attune.inquiry where execution = ${asking}::bigint`)
        )[0],
      "the inquiry",
    );
    const { id: worker } = await world.workerRow();
    await world.all(
      sql`update attune.worker set last_heartbeat = now() - interval '1 hour' where id = ${worker}::bigint`,
    );
    const { services, session } = world;
    const key = { owner: { system: true }, name: "printer", encrypted: true, expectedUpdated: null };
    await commit(services, setKey, session, { ...key, value: "one" });
    await commit(services, setKey, session, { ...key, value: "two" });
    const keyring = createKeyring(Buffer.alloc(32, 7), [Buffer.alloc(32, 0x42)]);
    expect(await rotateEncryptionKey({ ...services, keyring }, session)).toMatchObject({ keys: 1 });
    const ref = "system.printer";
    await commit(services, deleteKey, session, { ref });
    const files = { "pack.yaml": "ref: told\nlabel: Told\nversion: 1.0.0\n" };
    const directory = directories(files);
    await loadDirectory(services, directory);
    await loadDirectory(
      services,
      directories({ "pack.yaml": files["pack.yaml"].replace("1.0.0", "1.1.0") }, directory),
    );
    await world.all(sql`with s as (insert into attune.sensor (ref, label, entrypoint, runtime, runtime_ref)
        select 'default.paper', 'Paper', 'x', id, ref from attune.runtime where ref = 'core.sensor.shell' returning id)
      insert into attune.sensor_process (sensor) select id from s`);
    await world.all(
      sql`update attune.sensor_process set status = 'waiting', last_error = 'no paper', failures = 2, next_start_at = now()`,
    );

    expect(await arrived("core.inquiry_opened", 1)).toMatchObject([
      {
        inquiry: idOf("Inquiry", inquiry.id),
        execution: idOf("Execution", asking),
        action: "core.inquire",
        role: "on_call",
      },
    ]);
    expect(await arrived("core.worker_lost", 1)).toMatchObject([
      { worker: "w", last_heartbeat: expect.stringMatching(/^\d{4}-/) },
    ]);
    expect(await arrived("core.key_changed", 3)).toEqual(
      ["created", "updated", "deleted"].map((change) => ({ key: ref, change })),
    );
    expect(await arrived("core.pack_loaded", 2)).toEqual([
      { pack: "told", version: "1.0.0" },
      { pack: "told", version: "1.1.0", previous_version: "1.0.0" },
    ]);
    expect(await arrived("core.sensor_crashed", 1)).toEqual([
      { sensor: "default.paper", error: "no paper", failures: 2, next_start_at: expect.any(String) },
    ]);
  });

  test("an alert is reported once, until it is over", async () => {
    await world.rule("core.alert");
    const alert = { name: "disk", title: "full", details: { free_mb: 1 } } as const;
    const report = (now: typeof alert | null) => write(world.services, (tx) => reportAlert(tx, "disk", now));
    for (const now of [alert, alert, null, alert]) await report(now);
    expect(await arrived("core.alert", 2)).toEqual(
      [0, 1].map(() => ({ title: "full", severity: "warning", source: "attune", details: { free_mb: 1 } })),
    );
  });

  test("is dropped when its trigger no longer takes it", async () => {
    const { services, session } = world;
    await world.all(
      sql`insert into attune.platform_event (trigger_ref, payload) values ('core.none', '{}'), ('core.pack_loaded', '{}')`,
    );
    await until(async () => (await told()).length === 0, "their end");
    await commit(services, setEnabled("trigger"), session, { ref: "core.key_changed", enabled: false });
    await world.all(
      sql`insert into attune.platform_event (trigger_ref, payload) values ('core.key_changed', '{"key": "system.k", "change": "created"}')`,
    );
    await write(services, emitPlatformEvents);
    expect([await told(), (await eventsOf("core.key_changed")).length]).toEqual([[], 3]);
  });
});

test("a disk that runs full and events that wait are reported", async () => {
  await using other = await createWorld();
  await other.rule("core.alert");
  await other.all(
    sql`insert into attune.event (trigger_ref, created) values ('default.slow', now() - interval '2 minutes')`,
  );
  const room = { ...other.services.room, isLow: () => true, free: () => 300 * 1024 ** 2 };
  await using _events = startPlatformEvents({ ...other.services, room });
  const alerts = await until(async () => {
    const found = await other.all<{ payload: { title: string } }>(
      sql`select payload from attune.event where trigger_ref = 'core.alert' order by id`,
    );
    return found.length >= 2 ? found.map(({ payload }) => payload) : null;
  }, "both alerts");
  expect(alerts).toEqual([
    { title: expect.stringMatching(/^The disk/), severity: "warning", source: "attune", details: { free_mb: 300 } },
    {
      title: expect.stringMatching(/^Events wait 1[2-9]\d s/),
      severity: "warning",
      source: "attune",
      details: { seconds: expect.any(Number) },
    },
  ]);
});

test("an alert is over by itself when its condition is, and is reported again when that comes back", async () => {
  await using other = await createWorld();
  await other.rule("core.alert");
  let isLow = true;
  const room = { ...other.services.room, isLow: () => isLow, free: () => 300 * 1024 ** 2 };
  const open = () => other.all<{ name: string }>(sql`select name from attune.platform_alert order by name`);
  const titles = async () =>
    (
      await other.all<{ title: string }>(
        sql`select payload ->> 'title' as title from attune.event where trigger_ref = 'core.alert' order by id`,
      )
    ).map(({ title }) => title);
  const wait = async (names: string[], what: string) =>
    await until(async () => JSON.stringify((await open()).map(({ name }) => name)) === JSON.stringify(names), what);
  const late = sql`insert into attune.event (trigger_ref, created) values ('default.slow', now() - interval '2 minutes')`;
  await other.all(late);
  await using _events = startPlatformEvents({ ...other.services, room }, { everyMs: 20 });
  await wait(["disk", "lag"], "both alerts");
  isLow = false;
  await wait(["lag"], "the end of the one of the disk");
  await until(async () => (await titles()).length === 2, "two events, which are evaluated like any others");
  await other.all(sql`delete from attune.pending_event`);
  await wait([], "the end of the other one");
  isLow = true;
  await other.all(late);
  await wait(["disk", "lag"], "both again");
  await until(async () => (await titles()).length === 4, "four events");
  expect((await titles()).map((title) => title.slice(0, 6)).sort()).toEqual(["Events", "Events", "The di", "The di"]);
});
