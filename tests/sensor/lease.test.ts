import { hostname } from "node:os";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createSensorToken } from "../../src/access/sensor-token.ts";
import { findSession } from "../../src/access/sessions.ts";
import { createSensor } from "../../src/catalog/sensor.ts";
import { createTrigger } from "../../src/catalog/trigger.ts";
import { write } from "../../src/db/tx.ts";
import { createEvent } from "../../src/event/record.ts";
import { thisProcess } from "../../src/lib/process-identity.ts";
import { storeLines } from "../../src/sensor/emit.ts";
import {
  type Claim,
  claimSensor,
  forgetFormer,
  markRunning,
  releaseSensor,
  renewLeases,
} from "../../src/sensor/lease.ts";
import { appendSensorLog, readSensorLog } from "../../src/sensor/log.ts";
import { createSink } from "../../src/sensor/sink.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let count = 0;

beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

/** Creates a sensor with a trigger of the same ref. */
async function create(runtime = "core.sensor.shell"): Promise<{ id: string; ref: string }> {
  count += 1;
  const ref = `default.watcher${count}`;
  const { id } = await commit(world.services, createSensor, world.session, { ref, runtime, entrypoint: "watch.sh" });
  await commit(world.services, createTrigger, world.session, { ref, sensor: ref });
  return { id: String(id), ref };
}

const claim = (sensor: string, generation: string, isOwnerDead = false) =>
  write(world.services, (tx) =>
    claimSensor(tx, { sensor, generation }, { leaseMs: 20_000, isOwnerDead, fingerprint: "f" }),
  );
const must = async (claimed: Promise<Claim | null>): Promise<Claim> => {
  const found = await claimed;
  if (found === null) throw new Error("the lease was not taken");
  return found;
};
const expire = (sensor: string) =>
  world.all(
    sql`update attune.sensor_process set lease_expires_at = now() - interval '1 second' where sensor = ${sensor}::bigint`,
  );
const eventsOf = (ref: string) =>
  world.all<{ payload: unknown }>(sql`select payload from attune.event where trigger_ref = ${ref} order by id`);
const lineOf = (trigger: string, n: number) => ({ number: n, text: JSON.stringify({ trigger, payload: { n } }) });

describe("the lease of a sensor", () => {
  test("is taken once, and again when it has ended; then nothing of the former one is stored", async () => {
    const { id, ref } = await create();
    const [one, other] = await Promise.all([claim(id, "0"), claim(id, "0")]);
    const first = one ?? other;
    if (first === null) throw new Error("neither has the lease");
    expect([one, other]).toContain(null);
    expect(first).toMatchObject({ sensor: id, generation: "1", failures: 0, former: [], logSeq: "0" });
    expect(await claim(id, "1")).toBeNull();

    const store = (lease: Claim, n: number) =>
      write(world.services, (tx) => storeLines(tx, { lease, ref, mask: null }, [lineOf(ref, n)]));
    const log = (lease: Claim, seq: string, text: string) =>
      write(world.services, (tx) =>
        appendSensorLog(tx, lease, [{ seq, stream: "stderr", at: "2026-01-01T00:00:00Z", text }]),
      );
    expect(await store(first, 1)).toEqual({ events: 1, faults: [] });
    await log(first, "1", "first");

    await expire(id);
    const second = await must(claim(id, "1"));
    expect(second).toMatchObject({ generation: "2", former: [thisProcess()], logSeq: "1" });
    expect(await store(first, 2)).toBeNull();
    await log(first, "2", "late");
    expect(await store(second, 3)).toEqual({ events: 1, faults: [] });
    expect(await eventsOf(ref)).toEqual([{ payload: { n: 1 } }, { payload: { n: 3 } }]);
    expect(
      (await readSensorLog(world.services.db, BigInt(id), { after: 0n, limit: 10 })).map(({ text }) => text),
    ).toEqual(["first"]);

    const late = await write(world.services, async (tx) => [
      await markRunning(tx, first, 42),
      await releaseSensor(tx, first, { kind: "stopped" }),
      [...(await renewLeases(tx, [first], 20_000)).kept],
    ]);
    expect(late).toEqual([false, false, []]);
  });

  test("keeps who had it until what that left is ended, also when its successor is killed before", async () => {
    const { id } = await create();
    await claim(id, "0");
    await world.all(
      sql`update attune.sensor_process set lease_owner = jsonb_set(lease_owner, '{pid}', '1') where sensor = ${id}::bigint`,
    );
    expect(await claim(id, "1")).toBeNull();
    await must(claim(id, "1", true));
    const third = await must(claim(id, "2", true));
    expect(third.former.map(({ pid }) => pid).sort((a, b) => a - b)).toEqual([1, process.pid]);
    await write(world.services, (tx) => forgetFormer(tx, third));
    expect(await world.one(sql`select former, host from attune.sensor_process where sensor = ${id}::bigint`)).toEqual({
      former: [],
      host: hostname(),
    });
  });

  test("ends the token, also for a session that was looked up before", async () => {
    const { id, ref } = await create();
    const { services } = world;
    await must(claim(id, "0"));
    const token = await write(services, (tx) => createSensorToken(tx, id));
    const session = await findSession(services.db, token ?? "");
    if (session === null) throw new Error("the token does not work");
    const emit = (trigger: string, more: { source?: string } = {}) =>
      commit(services, createEvent, session, { trigger, payload: {}, traceTag: null, ...more });
    await emit(ref);
    await emit(ref, { source: ref });
    const other = await create();
    await expect(emit(other.ref)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(emit(ref, { source: other.ref })).rejects.toMatchObject({ code: "FORBIDDEN" });
    await expire(id);
    await expect(emit(ref)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    await must(claim(id, "1"));
    await expect(emit(ref)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    expect(await findSession(services.db, token ?? "")).toBeNull();
    expect(await eventsOf(ref)).toHaveLength(2);
  });
});

test("what a sensor writes is read only as fast as it is stored", async () => {
  const { id, ref } = await create();
  const lease = await must(claim(id, "0"));
  let pulled = 0;
  let isFull = true;
  async function* endless(): AsyncGenerator<Buffer, void> {
    for (; pulled < 100; pulled += 1) yield Buffer.from(`${lineOf(ref, pulled).text}\n`);
  }
  const reports: string[] = [];
  const log = {
    report: (line: string) => reports.push(line),
    follow: async () => {},
    tail: () => "",
    end: async () => {},
  };
  const room = { ...world.services.room, shortage: () => (isFull ? "full" : null) };
  const sink = createSink(
    { ...world.services, room },
    {
      lease,
      ref,
      mask: null,
      persist: (store) => store(),
      log,
      stopping: new AbortController().signal,
      lost: () => {},
    },
  );
  const following = sink.follow(endless());
  await until(() => pulled === 0 && sink.isStoring(), "the first line to wait");
  isFull = false;
  await following;
  expect([pulled, (await eventsOf(ref)).length, reports]).toEqual([100, 100, []]);
});

test("a sensor that cannot be started says why", async () => {
  const [noFiles, noRuntime] = [await create(), await create("core.sensor.builtin")];
  for (const { ref } of [noFiles, noRuntime]) await world.rule(ref);
  world.startSensors();
  const errorOf = async ({ id }: { id: string }) =>
    (
      await world.all<{ status: string; error: string | null }>(
        sql`select status::text as status, last_error as error from attune.sensor_process where sensor = ${id}::bigint and last_error is not null`,
      )
    )[0];
  await until(async () => (await errorOf(noFiles)) && (await errorOf(noRuntime)), "their errors");
  expect(await errorOf(noFiles)).toEqual({
    status: "waiting",
    error: 'The pack "default" has no files, so that there is no "watch.sh" to run.',
  });
  expect(await errorOf(noRuntime)).toEqual({
    status: "waiting",
    error: "This version runs no sensors in core.sensor.builtin.",
  });
});
