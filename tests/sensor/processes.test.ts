import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { onPostgres } from "../support/database.ts";
import { packDirectories } from "../support/pack.ts";
import { type ServerProcess, serverEnvironment, spawnServer, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";
import { sensorPack, watching } from "./pack.ts";

/** Emits an event with its pid every 50 ms; a kernel's lock shows when another one runs at the same time. */
const locking = `
import fcntl, json, os, time
path = json.loads(os.environ["ATTUNE_SENSOR_TRIGGERS"])[0]["trigger_params"]["path"]
lock = open(path + ".lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    open(path + ".overlap", "a").write("two at once")
while True:
    print(json.dumps({"trigger": "watch.locking", "payload": {"n": os.getpid()}}), flush=True)
    time.sleep(0.05)
`;

const write = packDirectories();
/** Within this another server runs the sensors of one that was lost, with the settings that a server has by default. */
const takeoverMs = 30_000;

// One process at a time uses an embedded database.
describe.runIf(onPostgres())("a sensor on two processes", () => {
  let world: World;
  let watch: ReturnType<typeof watching>;
  let directory: string;
  const servers = new Set<ServerProcess>();

  beforeAll(async () => {
    world = await createWorld();
    watch = watching(world);
    directory = write(sensorPack({ locking: { runner: "python", program: locking } }));
    await watch.load(directory);
    await world.rule("watch.locking", { triggerParams: { path: join(directory, "state") } });
  });
  afterAll(async () => {
    for (const each of servers) each.child.kill("SIGCONT");
    await Promise.all([...servers].map((each) => each[Symbol.asyncDispose]()));
    await world[Symbol.asyncDispose]();
  });

  const startServer = async () => {
    const server = await startProcess(world.services.location, { ATTUNE__ROLES: "sensor" });
    servers.add(server);
    return server;
  };
  const holder = async () =>
    (
      await world.all<{ server: number; pid: number }>(
        sql`select (p.lease_owner ->> 'pid')::int as server, p.pid as pid from attune.sensor_process p where p.status = 'running'`,
      )
    )[0];
  /** Waits until a process of the sensor that is none of these has stored events, and returns who runs it. */
  const next = async (former: readonly number[]) =>
    await until(
      async () => {
        const now = await holder();
        return now !== undefined && !former.includes(now.pid) && (await pids()).at(-1) === now.pid ? now : null;
      },
      "events of a new process of the sensor",
      60_000,
    );
  /** Expects that the first event of a process of the sensor was stored soon enough after a time. */
  const expectTakeover = async (pid: number, since: number) => {
    const { at } = await world.one<{ at: number }>(
      sql`select (extract(epoch from min(created)) * 1000)::float8 as at from attune.event
        where trigger_ref = 'watch.locking' and (payload ->> 'n')::int = ${pid}::int`,
    );
    expect(at).toBeGreaterThan(since);
    expect(at - since).toBeLessThan(takeoverMs);
  };
  const pids = async () => (await watch.payloads("locking")).map((payload) => (payload as { n: number }).n);
  const serverOf = (pid: number) => {
    const server = [...servers].find(({ child }) => child.pid === pid);
    if (!server) throw new Error(`${pid} is none of the servers`);
    return server;
  };
  const isRunning = (pid: number) =>
    existsSync(`/proc/${pid}/stat`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));

  test("runs on one of them, and within 30 s on the other one when that is killed or stopped for longer than its lease", async () => {
    await Promise.all([startServer(), startServer()]);
    const first = await next([]);

    const killed = serverOf(first.server);
    const killedAt = Date.now();
    await killed.kill();
    servers.delete(killed);
    const second = await next([first.pid]);
    await expectTakeover(second.pid, killedAt);
    expect(second.server).not.toBe(first.server);
    expect(isRunning(first.pid)).toBe(false);

    await startServer();
    const stoppedAt = Date.now();
    process.kill(second.server, "SIGSTOP");
    const third = await next([first.pid, second.pid]);
    await expectTakeover(third.pid, stoppedAt);
    expect(third.server).not.toBe(second.server);
    expect(isRunning(second.pid)).toBe(false);
    process.kill(second.server, "SIGCONT");
    const stored = (await pids()).length;
    await until(async () => (await pids()).length > stored + 10, "events after it goes on");
    expect([first.pid, second.pid]).not.toContain((await holder())?.pid);

    // The events of each process are together: what a former one still had to say was not stored.
    const order = (await pids()).filter((pid, index, all) => pid !== all[index - 1]);
    expect(order).toEqual([...new Set(order)]);
    expect(order.filter((pid) => [first.pid, second.pid, third.pid].includes(pid))).toEqual([
      first.pid,
      second.pid,
      third.pid,
    ]);
    expect(existsSync(join(directory, "state.overlap"))).toBe(false);
  }, 120_000);

  test("ends with its process when the server is stopped, and goes on with the next", async () => {
    const last = await next([]);
    await Promise.all([...servers].map((each) => each[Symbol.asyncDispose]()));
    servers.clear();
    expect(isRunning(last.pid)).toBe(false);
    const row = await watch.processOf("locking");
    expect(row).toMatchObject({ status: "stopped", pid: null, restarts: 0, lastError: null });
    expect(await world.all(sql`select from attune.token where kind = 'sensor' and revoked_at is null`)).toEqual([]);
    await startServer();
    await next([last.pid]);
  }, 120_000);

  test("stores each event that has a name once, though a server is killed before it commits one", async () => {
    await using other = await createWorld();
    const watched = watching(other);
    const program = `
for n in 1 2 3 4 5; do echo "{\\"trigger\\": \\"watch.counting\\", \\"payload\\": {\\"n\\": $n}, \\"dedup\\": \\"$n\\"}"; done
exec sleep 600`;
    await watched.load(write(sensorPack({ counting: { program } })));
    await other.rule("watch.counting");
    const role = { ATTUNE__ROLES: "sensor", ATTUNE__SENSOR__LEASE_SECONDS: "3" };
    const { child } = spawnServer(
      serverEnvironment(other.services.location, { ...role, ATTUNE__TEST__FAULT: "event.before_commit" }),
    );
    const [, signal] = await once(child, "exit");
    expect(signal).toBe("SIGKILL");
    expect(await watched.payloads("counting")).toEqual([]);
    await using second = await startProcess(other.services.location, role);
    await until(async () => (await watched.payloads("counting")).length >= 5, "its events", 30_000);
    const lastEvent = async () =>
      (await other.one<{ at: string }>(sql`select last_event_at::text as at from attune.sensor_process`)).at;
    const before = await lastEvent();
    await using _third = await startProcess(other.services.location, role);
    await second.kill();
    await until(async () => (await lastEvent()) !== before, "what it emits again", 30_000);
    expect(await watched.payloads("counting")).toEqual([1, 2, 3, 4, 5].map((n) => ({ n })));
  }, 60_000);
});
