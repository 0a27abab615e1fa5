import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { createLog } from "../../src/log.ts";
import { createFeed } from "../../src/notifier/feed.ts";
import { readPage } from "../../src/notifier/page.ts";
import { readLongestWriter, readSettled } from "../../src/notifier/settled.ts";
import { createServices, onPostgres, type TestServices } from "../support/database.ts";
import { until } from "../support/until.ts";
import { everything, follow, insertPack, parts } from "./follow.ts";
import { openSession, type Session } from "./session.ts";

let services: TestServices;
let session: Session;
beforeAll(async () => {
  services = await createServices();
  session = openSession(services);
});
afterAll(async () => {
  await session[Symbol.asyncDispose]();
  await services[Symbol.asyncDispose]();
});

describe("a writing transaction", () => {
  test("locks one number below all its entries' ids, once, until it ends", async () => {
    await session.run("begin");
    expect(await session.locked()).toEqual([]);
    const ids = [await session.enter(), await session.enter()];
    await session.run("savepoint s");
    ids.push(await session.enter());
    await session.run("release savepoint s");
    ids.push(await session.enter());
    const [number = Number.NaN, ...more] = await session.locked();
    expect(more).toEqual([]);
    expect(number).toBeLessThan(Math.min(...ids));
    await session.run("commit");
    expect(await session.locked()).toEqual([]);
  });

  test("locks another number when its first entry was rolled back to a savepoint", async () => {
    await session.run("begin");
    for (const savepoint of ["a", "b"]) {
      await session.run(`savepoint ${savepoint}`);
      await session.run("savepoint inner_one");
      await session.enter();
      await session.run("release savepoint inner_one");
      expect(await session.locked()).toHaveLength(1);
      await session.run(`rollback to savepoint ${savepoint}`);
      expect(await session.locked()).toEqual([]);
    }
    await session.run(`do $$ begin
      insert into attune.notification (channel, entity_type, entity, activity) values ('pack', 'pack', 1, 'updated');
      raise exception 'undone';
    exception when raise_exception then null; end $$`);
    expect(await session.locked()).toEqual([]);
    const id = await session.enter();
    const [number = Number.NaN, ...more] = await session.locked();
    expect(more).toEqual([]);
    expect(number).toBeLessThan(id);
    await session.run("rollback");
  });

  test("keeps its lock when a later entry is rolled back to a savepoint", async () => {
    await session.run("begin");
    await session.enter();
    const before = await session.locked();
    await session.run("savepoint s");
    await session.enter();
    await session.run("rollback to savepoint s");
    await session.enter();
    expect(await session.locked()).toEqual(before);
    await session.run("commit");
  });

  test.each([
    ["a session's setting", "set attune.entered = 'yes'", "reset attune.entered"],
    ["the id of an older transaction", "select set_config('attune.entered', pg_current_xact_id()::text, false)", null],
    ["the role of a replica", "set session_replication_role = replica", "reset session_replication_role"],
  ])("locks its number in spite of %s", async (_what, before, after) => {
    await session.run(before);
    await session.run("begin");
    const id = await session.enter();
    const [number = Number.NaN] = await session.locked();
    expect(number).toBeLessThan(id);
    await session.run("commit");
    await session.run(after ?? "reset attune.entered");
  });

  test.each(["set attune.entered = 'yes'", "set local attune.entered = 'yes'", "reset attune.entered"])(
    "stays locked at its first number after %s",
    async (meddling) => {
      await session.run("begin");
      await session.enter();
      const [first] = await session.locked();
      await session.run(meddling);
      await session.enter();
      expect((await session.locked())[0]).toBe(first);
      await session.run("rollback");
    },
  );

  test("that changes no execution locks no number and gets no transaction id", async () => {
    await session.run("begin");
    await session.run("update attune.execution set reason = reason where false");
    await session.run(
      "insert into attune.execution (action_ref, on_worker_loss, trace_tag) select 'a.b', 'abandon', 't' where false",
    );
    expect(await session.locked()).toEqual([]);
    expect(await session.run("select pg_current_xact_id_if_assigned() as xid")).toEqual([{ xid: null }]);
    await session.run("commit");
  });
});

describe("the log's numbers", () => {
  test("come from a sequence that hands them out one at a time and never cycles", async () => {
    const [sequence] = await session.run(
      `select seqcache::int as cache, seqcycle as cycle, seqincrement::int as step from pg_sequence
        where seqrelid = pg_get_serial_sequence('attune.notification', 'id')::regclass`,
    );
    expect(sequence).toEqual({ cache: 1, cycle: false, step: 1 });
  });

  test("are settled up to the newest visible entry, not up to the sequence's last value", async () => {
    const visible = await session.enter();
    await session.run("begin");
    const rolledBack = [await session.enter(), await session.enter()];
    await session.run("rollback");
    // Taken by a writer that has not locked it yet.
    const [taken] = await session.run<{ n: number }>(`select nextval('attune.notification_id_seq')::int as n`);
    expect(taken?.n).toBeGreaterThan(Math.max(...rolledBack));
    expect(await readSettled(services.db, -1n)).toMatchObject({ settled: BigInt(visible), newest: BigInt(visible) });
  });
});

// One connection cannot interleave two transactions: these need PostgreSQL.
describe.runIf(onPostgres())("concurrent transactions on PostgreSQL", () => {
  test("one row's changes arrive in order even if the later writer's transaction began first", async () => {
    await using own = await createServices();
    const feed = await createFeed(own);
    await using live = follow(feed);
    await insertPack(own, "raced");
    await using early = openSession(own);
    await using late = openSession(own);
    await early.run("begin");
    await early.enter();
    await late.run("update attune.pack set label = 'first' where ref = 'raced'");
    await early.run("update attune.pack set label = 'second' where ref = 'raced'");
    await early.run("commit");
    own.wake.announce(["feed"]);
    const mine = () => live.seen.filter((change) => change.entityId === live.seen[0]?.entityId && change.packRef);
    await until(() => mine().length === 3, "three changes");
    expect(mine().map((change) => change.activity)).toEqual(["created", "updated", "updated"]);
    const ids = live.seen.map((change) => Number(change.id));
    expect(ids).toEqual([...ids].sort((a, b) => a - b));
    await feed[Symbol.asyncDispose]();
  });

  test("a write transaction that stays open in another database delays nothing", async () => {
    await using own = await createServices();
    const feed = await createFeed(own);
    await using live = follow(feed);
    const elsewhere = postgres(inject("serverUrl") ?? "", { max: 1 });
    const begun = Promise.withResolvers<void>();
    const mayEnd = Promise.withResolvers<void>();
    const held = elsewhere.begin(async (tx) => {
      await tx`select pg_current_xact_id(), pg_advisory_xact_lock_shared(16724::bigint << 48 | 1)`; // the same lock, of the other database
      begun.resolve();
      await mayEnd.promise;
    });
    await begun.promise;
    await insertPack(own, "prompt");
    await until(() => live.seen.length === 1, "the change", 1000);
    expect(feed.lagMs()).toBe(0);
    mayEnd.resolve();
    await held;
    await elsewhere.end();
    await feed[Symbol.asyncDispose]();
  });

  test("a writer holds back what was committed after it began; its end, though not announced, releases that within 200 ms", async () => {
    await using own = await createServices();
    const feed = await createFeed(own);
    await using live = follow(feed);
    await using slow = openSession(own);
    await slow.run("begin");
    const hidden = await slow.enter();
    await insertPack(own, "delayed");
    await until(() => feed.lagMs() > 300, "the lag to be measured");
    expect(live.seen).toEqual([]);
    await slow.run("commit");
    const released = performance.now();
    await until(() => live.seen.length === 2, "both changes", 2000);
    expect(performance.now() - released).toBeLessThan(200);
    expect(live.seen[0]?.id).toBe(BigInt(hidden));
    await until(() => feed.lagMs() === 0, "no lag");
    await feed[Symbol.asyncDispose]();
  });

  test("a writer that holds the feed back for five seconds is logged, with its pid", async () => {
    await using own = await createServices();
    const lines: string[] = [];
    const log = createLog({ level: "warn", format: "json" }, { write: (line) => lines.push(line) });
    const feed = await createFeed({ ...own, log });
    await using slow = openSession(own);
    await using slower = openSession(own);
    const [backend] = await slow.run<{ pid: number }>("select pg_backend_pid() as pid");
    for (const writer of [slow, slower]) {
      await writer.run("begin");
      await writer.enter();
    }
    await insertPack(own, "held");
    expect(await readLongestWriter(own.db)).toMatchObject({ pid: backend?.pid, state: "idle in transaction" });
    expect(lines).toEqual([]);
    await until(() => lines.length > 0, "the warning", 8000);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      msg: "a long transaction holds back the feed",
      pid: backend?.pid,
      lagMs: expect.toSatisfy((ms: number) => ms > 5000 && ms < 6000),
    });
    // The next writer has held nothing back so far: its time starts now.
    await slow.run("commit");
    await until(() => feed.lagMs() < 2000, "the other writer's own time");
    await slower.run("commit");
    await feed[Symbol.asyncDispose]();
  });

  test("a number that is locked late lowers the settled position, but not the feed's", async () => {
    await using own = await createServices();
    const feed = await createFeed(own);
    await using live = follow(feed);
    await using slow = openSession(own);
    // A writer between taking its number and locking it, step by step.
    await slow.run("begin");
    const [taken] = await slow.run<{ n: number }>(`select nextval('attune.notification_id_seq')::int as n`);
    await insertPack(own, "between");
    await until(() => live.seen.length === 1, "the change in between");
    const place = feed.start().cursor;
    await slow.run(`select pg_advisory_xact_lock_shared(16724::bigint << 48 | ${taken?.n})`);
    expect((await readSettled(own.db, -1n)).settled).toBe(BigInt(taken?.n ?? 0) - 1n);
    await slow.run(`select set_config('attune.entered', pg_current_xact_id()::text, true)`);
    const late = await slow.enter();
    expect(late).toBeGreaterThan(parts(place).id);
    await insertPack(own, "hidden");
    await until(() => feed.lagMs() > 0, "the feed to be held back");
    expect(feed.start().cursor).toBe(place);
    await slow.run("commit");
    await until(() => live.seen.length === 3, "all changes");
    expect(live.seen[1]?.id).toBe(BigInt(late));
    expect(new Set(live.seen.map(({ id }) => id)).size).toBe(3);
    await feed[Symbol.asyncDispose]();
  });

  test("entries are read in a newer snapshot than the settled position: a commit in between is not lost", async () => {
    await using own = await createServices();
    await using writer = openSession(own);
    await using reader = openSession(own);
    const visible = `select id::int from attune.notification where id <= (select settled from attune.notification_settled(0)) order by id`;
    await writer.run("begin");
    const hidden = await writer.enter();
    await insertPack(own, "after");
    await reader.run("begin isolation level repeatable read");
    await reader.run("select count(*) from attune.notification");
    await writer.run("commit");
    // The trap: in one snapshot the locks are released and the entry is not visible yet.
    const inOneSnapshot = await reader.run<{ id: number }>(visible);
    expect(inOneSnapshot.map(({ id }) => id)).not.toContain(hidden);
    const [position] = await reader.run<{ log: string; settled: string }>(
      "select log, settled::text from attune.notification_settled(0)",
    );
    expect(Number(position?.settled)).toBeGreaterThan(hidden);
    const page = { after: { log: position?.log ?? "", id: 0n }, until: BigInt(position?.settled ?? 0), limit: 10 };
    const { changes } = await readPage(own.db, { ...page, filter: everything });
    expect(changes.map(({ id }) => Number(id))).toContain(hidden);
    await reader.run("commit");
  });
});
