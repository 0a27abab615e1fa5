import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { loseExecutions } from "../../src/execution/lose.ts";
import { startClaims } from "../../src/worker/claims.ts";
import { createReach } from "../../src/worker/http.ts";
import { createServices, onPostgres, type TestServices } from "../support/database.ts";
import { processesWith } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { createWorld, type Part, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());
afterEach(async () => {
  for (const table of ["attune_jobs.job", "attune.execution", "attune.worker"])
    await world.all(sql`delete from ${sql.raw(table)}`);
});

/** Makes the executions look as if they had been claimed eleven seconds ago: longer than a heartbeat. */
const age = () =>
  write(world.services, async (tx) => {
    await tx.db.execute(sql`set local session_replication_role = replica`);
    await tx.db.execute(sql`update attune.execution set started_at = started_at - interval '11 seconds'`);
  });

const statusOf = async (id: string) => (await world.execution(id)).status;
const isAny = async (status: string) =>
  (await world.all(sql`select from attune.execution where status::text = ${status}`)).length > 0;
const isStatus = (id: string, status: string) => async () => (await statusOf(id)) === status;

/** Waits until the only worker has sent that many heartbeats more: then it has finished what all but the last one caused. */
async function beats(count: number, services: TestServices = world.services): Promise<void> {
  const last = () => world.one<{ at: string }>(sql`select last_heartbeat::text as at from attune.worker`);
  for (let beat = 0; beat < count; beat += 1) {
    const { at } = await last();
    services.wake.announce(new Set(["worker"]));
    await until(async () => (await last()).at !== at, "a heartbeat");
  }
}

describe("a claim in the name of a worker that never began it", () => {
  let worker: Part;
  beforeEach(async () => {
    worker = await world.startWorker(0); // it claims no processes itself
  });
  afterEach(() => worker.stop());

  async function claimed(): Promise<string> {
    const id = await world.execute("core.shell", { command: "echo ran" });
    const own = await world.one<{ id: string; name: string }>(sql`select id::text, name from attune.worker`);
    await write(world.services, (tx) => claimExecutions(tx, own, { runtimeRef: "core.action.shell", limit: 1 }));
    expect(await statusOf(id)).toBe("running");
    return id;
  }

  test("may be on its way for a heartbeat, then returns to the queue and runs once", async () => {
    const id = await claimed();
    await beats(2);
    expect(await statusOf(id)).toBe("running");
    await age();
    await beats(2);
    expect(await world.execution(id)).toMatchObject({ status: "scheduled", attempt: 1, worker: null });
    const other = await world.startWorker(1);
    expect(await world.ended(id)).toMatchObject({ status: "completed", attempt: 2 });
    expect(await world.log(id, "stdout")).toBe("ran\n");
    expect((await world.timeline(id)).slice(-4)).toEqual([
      "scheduled>running",
      "running>scheduled",
      "scheduled>running",
      "running>completed",
    ]);
    await other.stop();
  });

  test("returns to the queue even if its action may not be run again: it has not been run", async () => {
    const id = await claimed();
    await world.all(sql`update attune.execution set on_worker_loss = 'abandon' where id = ${id}::bigint`);
    await age();
    await beats(2);
    expect(await statusOf(id)).toBe("scheduled");
  });

  test("is cancelled if that was requested", async () => {
    const id = await claimed();
    await world.all(sql`update attune.execution set status = 'canceling' where id = ${id}::bigint`);
    await age();
    await beats(2);
    expect(await statusOf(id)).toBe("cancelled");
  });
});

test("an execution that is no longer its worker's is stopped there, and what runs there for long is not", async () => {
  const worker = await world.startWorker(2);
  const [lost, kept] = await Promise.all(
    ["7003.25", "7004.25"].map((seconds) => world.execute("core.shell", { command: `exec sleep ${seconds}` })),
  );
  for (const text of ["sleep\u00007003.25", "sleep\u00007004.25"])
    await until(() => processesWith(text).length === 1, text);
  await age();
  await world.all(sql`update attune.execution set on_worker_loss = 'abandon' where id = ${lost}::bigint`);
  await write(world.services, (tx) => loseExecutions(tx, sql`e.id = ${lost}::bigint`, "the worker was lost"));
  await beats(2);
  await until(() => processesWith("7003.25").length === 0, "the end of its process");
  expect(await statusOf(lost ?? "")).toBe("abandoned");
  expect(processesWith("sleep\u00007004.25")).toHaveLength(1);
  await world.all(sql`update attune.execution set status = 'canceling' where id = ${kept}::bigint`);
  world.services.wake.announce(new Set(["cancel"]));
  await world.ended(kept ?? "");
  await worker.stop();
});

describe("a result that the database does not store", () => {
  /** Makes the database refuse completed executions, with that SQLSTATE, and count how often. */
  async function refuse(code: string, when = "true"): Promise<void> {
    await world.all(sql`create sequence public.refused`);
    const body = `begin perform nextval('public.refused'); raise exception 'no' using errcode = '${code}'; end`;
    await world.all(sql.raw(`create function public.refuse() returns trigger language plpgsql as $$ ${body} $$`));
    await world.all(
      sql.raw(`create trigger refuse before update on attune.execution for each row
        when (new.status = 'completed' and ${when}) execute function public.refuse()`),
    );
  }
  const accept = () => world.all(sql`drop trigger if exists refuse on attune.execution`);
  const refused = async () =>
    (
      await world.one<{ count: number }>(sql`select case when is_called then last_value else 0 end::int as count
      from public.refused`)
    ).count;
  afterEach(async () => {
    await accept();
    await world.all(sql`drop function public.refuse`);
    await world.all(sql`drop sequence public.refused`);
  });
  const diskFull = "53100";

  test("is kept until it is, and its worker claims nothing meanwhile", async () => {
    await refuse(diskFull);
    const worker = await world.startWorker(1);
    const id = await world.execute("core.shell", { command: "echo ran" });
    await until(async () => (await refused()) > 0, "the first try");
    const next = await world.execute("core.noop");
    // Six tries, in six seconds, once were all.
    await until(async () => (await refused()) > 6, "the seventh try", 20_000);
    await beats(1);
    expect(await statusOf(id)).toBe("running");
    expect(await statusOf(next)).toBe("scheduled");
    await accept();
    for (const each of [id, next]) expect(await world.ended(each)).toMatchObject({ status: "completed", attempt: 1 });
    expect(await world.log(id, "stdout")).toBe("ran\n");
    await worker.stop();
  });

  test("is waited for by a stop", async () => {
    await refuse(diskFull);
    const worker = await world.startWorker(1, 20_000);
    const id = await world.execute("core.noop");
    await until(async () => (await refused()) > 0, "the first try");
    const stopped = worker.stop();
    await accept();
    await stopped;
    expect(await world.execution(id)).toMatchObject({ status: "completed", attempt: 1 });
  });

  test("is given up when the stop's time is over, and its execution is handed back", async () => {
    await refuse(diskFull);
    const worker = await world.startWorker(1, 10);
    const id = await world.execute("core.noop");
    await until(async () => (await refused()) > 0, "the first try");
    await worker.stop();
    expect(await world.execution(id)).toMatchObject({ status: "scheduled", reason: "the worker stopped" });
  });

  test("because of what it holds fails its execution and nothing else", async () => {
    await refuse("22P05", "new.result ->> 'data' = 'bad'");
    const ids = await Promise.all(["good", "bad", "fine"].map((message) => world.execute("core.echo", { message })));
    const worker = await world.startWorker(1);
    const ended = await Promise.all(ids.map((id) => world.ended(id)));
    expect(ended.map(({ status }) => status)).toEqual(["completed", "failed", "completed"]);
    expect(ended[1]).toMatchObject({ attempt: 1, error: { code: "RESULT_NOT_STORABLE" } });
    await worker.stop();
  });
});

/** Only a server has a network between it and the worker. */
describe.runIf(onPostgres())("an answer of the database that is lost or late", () => {
  let proxy: Awaited<ReturnType<typeof createProxy>>;
  let services: TestServices;
  let worker: AsyncDisposable;
  beforeEach(async () => {
    proxy = await createProxy(world.services.location.url ?? "");
    services = await createServices({ ...world.services.location, url: proxy.url });
    await services.jobs.open("execution/core.action.builtin");
    worker = await startClaims(services, {
      runtimes: [{ ref: "core.action.builtin", command: null, version: null }],
      ...{
        slots: 1,
        stopMs: 5000,
        warm: false,
        environmentsDir: "/nonexistent",
        runtimeSlots: new Map(),
        labels: {},
        host: {
          base: {},
          buildBase: {},
          engineBase: {},
          apiUrl: "",
          runAs: null,
          releases: new Map(),
          installs: { directory: "/nonexistent", sources: [], indexes: [] },
          reach: createReach([]),
        },
      },
    });
    await beats(2, services);
  });
  afterEach(async () => {
    await worker[Symbol.asyncDispose]();
    await services[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });

  test("to a claim: it returns to the queue and runs once", async () => {
    const lost = proxy.lose(() => isAny("running"));
    const id = await world.execute("core.noop");
    await lost;
    expect(await world.execution(id)).toMatchObject({ status: "running", attempt: 1 });
    await age();
    await until(async () => {
      services.wake.announce(new Set(["worker"]));
      return (await statusOf(id)) !== "running";
    }, "the release");
    expect(await world.ended(id)).toMatchObject({ status: "completed", attempt: 2 });
  });

  test("to a claim, and arrives after the claim was let go: nothing begins twice", async () => {
    const held = proxy.hold(() => isAny("running"));
    const id = await world.execute("core.noop");
    const answer = await held;
    await age();
    services.wake.announce(new Set(["worker"]));
    await until(isStatus(id, "scheduled"), "the release");
    answer.arrive();
    expect(await world.ended(id)).toMatchObject({ status: "completed", attempt: 2 });
    await beats(2, services);
    expect((await world.timeline(id)).slice(-4)).toEqual([
      "scheduled>running",
      "running>scheduled",
      "scheduled>running",
      "running>completed",
    ]);
  });

  test("to a result: it is stored once, and nothing is noted", async () => {
    const lost = proxy.lose(() => isAny("completed"));
    const id = await world.execute("core.noop");
    await lost;
    const next = await world.execute("core.noop");
    await world.ended(next);
    expect((await world.timeline(id)).slice(-2)).toEqual(["scheduled>running", "running>completed"]);
  });
});

/** A TCP proxy in front of a PostgreSQL server that stops the answer to one commit. */
async function createProxy(target: string) {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let stop: ((answer: { client: Socket; bytes: Buffer }) => Promise<boolean>) | null = null;
  const listener = createServer({ noDelay: true }, (client) => {
    const server = connect({ host: hostname, port: Number(port), noDelay: true });
    let forwarded = Promise.resolve();
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (bytes) => server.write(bytes));
    server.on("data", (bytes) => {
      forwarded = forwarded.then(async () => {
        const isStopped = stop !== null && bytes.includes("COMMIT\0") && (await stop({ client, bytes }));
        if (!isStopped && !client.destroyed) client.write(bytes);
      });
    });
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const url = new URL(target);
  url.host = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  /** Stops the answer to the first commit after which `isIt` holds. */
  const stopAnswer = (isIt: () => Promise<boolean>) =>
    new Promise<{ client: Socket; bytes: Buffer }>((resolve) => {
      stop = async (answer) => {
        if (!(await isIt())) return false;
        stop = null;
        resolve(answer);
        return true;
      };
    });
  return {
    url: url.href,
    /** Cuts the connection instead of delivering the answer. */
    lose: async (isIt: () => Promise<boolean>) => void (await stopAnswer(isIt)).client.destroy(),
    /** Keeps the answer back. */
    hold: async (isIt: () => Promise<boolean>) => {
      const { client, bytes } = await stopAnswer(isIt);
      return { arrive: () => client.write(bytes) };
    },
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const socket of sockets) socket.destroy();
      if (sockets.size > 0) await once(listener, "close");
    },
  };
}
