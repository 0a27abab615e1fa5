import { sql } from "drizzle-orm";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { executeAction } from "../../src/execution/execute.ts";
import { finishExecutions } from "../../src/execution/finish.ts";
import { globalId } from "../../src/lib/global-id.ts";
import { createPolicy, deletePolicy } from "../../src/policy/policy.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { withoutFeed } from "../support/database.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
  await world.services.db.execute(
    sql`insert into attune.presence (created, seen_until) values (now() - interval '1 day', now())`,
  );
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

let id: string;
beforeEach(async () => {
  id = await world.execute("core.noop");
});

const fields = "liveness { on isStuck movesAt lastHeartbeat lostAt workers position }";

async function liveness(session = world.session) {
  const { data, errors } = await api.ask(session, `query ($id: ID!) { execution(id: $id) { ${fields} } }`, {
    id: globalId("Execution", id),
  });
  expect(errors).toBeUndefined();
  return data.execution.liveness;
}

async function run() {
  const worker = await world.workerRow();
  await world.services.db.execute(
    sql`update attune.execution set status = 'running', worker = ${worker.id}::bigint, attempt = 1, started_at = now(),
      deadline = now() + interval '1 minute' where id = ${id}::bigint`,
  );
  return worker;
}

test("in a queue: the workers that serve it, and when it fails without one", async () => {
  const found = await liveness();
  expect(found).toMatchObject({ on: "QUEUE", isStuck: false, workers: 0, lostAt: null });
  expect(Date.parse(found.movesAt)).toBeGreaterThan(Date.now() + 4 * 60_000);
  await world.services.db.execute(
    sql`update attune.execution set scheduled_at = now() - interval '6 minutes' where id = ${id}::bigint`,
  );
  expect(await liveness()).toMatchObject({ on: "QUEUE", isStuck: true });
});

test("on a worker: its lease, and that it was lost", async () => {
  const worker = await run();
  const found = await liveness();
  expect(found).toMatchObject({ on: "WORKER", isStuck: false, workers: null });
  expect(Date.parse(found.lostAt) - Date.parse(found.lastHeartbeat)).toBe(30_000);
  const reader = await createPerson(world.services, "reader", {
    grants: [{ resource: "execution", actions: ["read"] }],
  });
  expect(await liveness(reader)).toMatchObject({ on: "WORKER", isStuck: false, lastHeartbeat: null, lostAt: null });
  await world.services.db.execute(
    sql`update attune.worker set last_heartbeat = now() - interval '1 minute' where id = ${worker.id}::bigint`,
  );
  expect(await liveness()).toMatchObject({ on: "WORKER", isStuck: true });
});

test("past its deadline it is stuck, and once it has ended it has none", async () => {
  await run();
  await world.services.db.execute(
    sql`update attune.execution set deadline = now() - interval '1 minute' where id = ${id}::bigint`,
  );
  expect(await liveness()).toMatchObject({ isStuck: true });
  await world.services.db.execute(
    sql`update attune.execution set status = 'completed', finished_at = now() where id = ${id}::bigint`,
  );
  expect(await liveness()).toBeNull();
});

test("waiting for an inquiry whose row is gone, it is stuck", async () => {
  await run();
  await world.services.db.execute(
    sql`update attune.execution set worker = null, worker_name = null, waits_for = 'inquiry' where id = ${id}::bigint`,
  );
  expect(await liveness()).toMatchObject({ on: "INQUIRY", isStuck: true, lostAt: null });
});

test("waiting for a slot: its position, by priority and then by arrival", async () => {
  const policy = { ref: "default.live", action: "core.sleep", method: "enqueue", threshold: 1 } as const;
  await commit(world.services, createPolicy, world.session, policy);
  const request = async (priority: number) =>
    String(
      (
        await commit(world.services, executeAction, world.session, {
          action: "core.sleep",
          parameters: { seconds: 1 },
          timeoutSeconds: null,
          priority,
        })
      ).id,
    );
  await request(0);
  const [usual, late, urgent] = [await request(0), await request(0), await request(5)];
  const positions: unknown[] = [];
  for (const each of [urgent, usual, late]) {
    id = each;
    const found = await liveness();
    expect(found).toMatchObject({ on: "SLOT", isStuck: false, workers: null, movesAt: null });
    positions.push(found.position);
  }
  expect(positions).toEqual([1, 2, 3]);
  await commit(world.services, deletePolicy, world.session, { ref: policy.ref });
});

test("waiting for its time, or for the delay of a retry: when it moves", async () => {
  const runAt = new Date(Date.now() + 3_600_000);
  const request = { action: "core.noop", parameters: {}, timeoutSeconds: null, priority: null };
  id = String((await commit(world.services, executeAction, world.session, { ...request, runAt })).id);
  expect(await liveness()).toMatchObject({ on: "TIME", isStuck: false, movesAt: runAt.toISOString(), position: null });

  const retry = { max: 1, delay: 600, jitter: 0 };
  const first = String((await commit(world.services, executeAction, world.session, { ...request, retry })).id);
  const worker = await world.workerRow();
  const [claim] = (
    await write(world.services, (tx) => claimExecutions(tx, worker, { runtimeRef: "core.action.builtin", limit: 100 }))
  ).claims.filter((each) => each.id === first);
  if (!claim) throw new Error("it was not claimed");
  await write(world.services, (tx) =>
    finishExecutions(tx, [
      {
        id: first,
        attempt: claim.attempt,
        status: "failed",
        result: null,
        error: { code: "X", message: "x" },
        reason: null,
      },
    ]),
  );
  ({ id } = await world.one<{ id: string }>(
    sql`select id::text from attune.execution where retry_of = ${first}::bigint`,
  ));
  const found = await liveness();
  expect(found).toMatchObject({ on: "RETRY", isStuck: false });
  expect(Math.abs(Date.parse(found.movesAt) - Date.now() - 600_000)).toBeLessThan(30_000);
});

test("before its admission it depends on that", async () => {
  await write(world.services, async (tx) => {
    await tx.db.execute(sql`set local session_replication_role = replica`);
    await tx.db.execute(
      sql`update attune.execution set status = 'scheduling', scheduled_at = null where id = ${id}::bigint`,
    );
  });
  expect(await liveness()).toMatchObject({ on: "ADMISSION", isStuck: false, workers: null });
});

test("a page takes one statement more with it, whatever its length", async () => {
  for (let count = 0; count < 5; count += 1) await world.execute("core.noop");
  const statements = async (first: number, selected: string) => {
    const before = world.services.statements.length;
    const { errors } = await api.ask(world.session, `{ executions(first: ${first}) { nodes { id ${selected} } } }`);
    expect(errors).toBeUndefined();
    return withoutFeed(world.services.statements.slice(before)).length;
  };
  const without = await statements(5, "");
  expect(await statements(1, fields)).toBe(without + 1);
  expect(await statements(5, fields)).toBe(without + 1);
});
