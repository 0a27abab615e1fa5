import { execFileSync, spawnSync } from "node:child_process";
import { sql } from "drizzle-orm";
import postgres from "postgres";
import { describe, expect, inject, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";
import { write } from "../../src/db/tx.ts";
import { createFeed, type Feed } from "../../src/notifier/feed.ts";
import type { Change, ChangeFilter } from "../../src/notifier/page.ts";
import { cloneDatabase, createServices, onPostgres, type TestServices } from "../support/database.ts";
import { until } from "../support/until.ts";

const everything: ChangeFilter = { channel: null, entityId: null, matches: () => true };

/** Follows in the background; `seen` grows as changes come. */
function collect(feed: Feed, after: string | null = null, filter = everything) {
  const abort = new AbortController();
  const seen: Change[] = [];
  const ended = (async () => {
    for await (const change of feed.follow(filter, after, abort.signal)) seen.push(change);
  })();
  return {
    seen,
    stop: async () => {
      abort.abort();
      await ended;
    },
  };
}

const epochOf = (cursor: string) => Number(cursor.split(".")[0]);

async function insertPack(services: TestServices, ref: string): Promise<void> {
  await write(services, async (tx) => {
    await tx.db.execute(sql`insert into attune.pack (ref, label, version) values (${ref}, ${ref}, '1.0.0')`);
  });
}

describe("the feed", () => {
  test("16 concurrent writers, 800 changes, one subscriber: 800, none twice, and again by cursor", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    const live = collect(feed);
    const start = feed.position();
    await Promise.all(
      Array.from({ length: 16 }, async (_, writer) => {
        for (let round = 0; round < 25; round += 1) {
          await write(services, async (tx) => {
            await tx.db.execute(
              sql`insert into attune.pack (ref, label, version) values (${`w${writer}-${round}-a`}, 'x', '1.0.0')`,
            );
            await tx.db.execute(
              sql`insert into attune.pack (ref, label, version) values (${`w${writer}-${round}-b`}, 'x', '1.0.0')`,
            );
          });
        }
      }),
    );
    await until(() => live.seen.length >= 800, "800 changes");
    expect(new Set(live.seen.map((change) => change.entityId)).size).toBe(800);
    expect(live.seen).toHaveLength(800);
    const replayed = collect(feed, start);
    await until(() => replayed.seen.length >= 800, "the replay");
    expect(replayed.seen.map((change) => change.cursor)).toEqual(live.seen.map((change) => change.cursor));
    const halfway = live.seen[399]?.cursor ?? "";
    const rest = collect(feed, halfway);
    await until(() => rest.seen.length >= 400, "the rest");
    expect(rest.seen[0]?.cursor).toBe(live.seen[400]?.cursor);
    await Promise.all([live.stop(), replayed.stop(), rest.stop()]);
    await feed[Symbol.asyncDispose]();
  });

  test("a follower that the ring has left behind pages from the table without a gap", async () => {
    await using services = await createServices();
    const feed = await createFeed(services, 10);
    const start = feed.position();
    for (let n = 0; n < 150; n += 1) await insertPack(services, `pack-${n}`);
    const late = collect(feed, start);
    await until(() => late.seen.length >= 150, "150 changes");
    await insertPack(services, "pack-150");
    await until(() => late.seen.length >= 151, "the live one");
    expect(new Set(late.seen.map((change) => change.entityId)).size).toBe(151);
    await late.stop();
    await feed[Symbol.asyncDispose]();
  });

  test("an idle follower costs no statement of its own; a filter by entity gets that entity only", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    const first = collect(feed, feed.position());
    await insertPack(services, "one");
    await until(() => first.seen.length > 0, "the feed to have passed what was made before the others follow it");
    await first.stop();
    const [{ id } = { id: "0" }] = await rows<{ id: string }>(
      services.db,
      sql`select id::text from attune.pack where ref = 'one'`,
    );
    const mine = collect(feed, null, { ...everything, channel: "pack", entityId: BigInt(id) });
    const others = Array.from({ length: 50 }, () => collect(feed, null, { ...everything, entityId: -1n }));
    await insertPack(services, "two");
    await write(services, (tx) => tx.db.execute(sql`update attune.pack set label = 'new' where ref = 'one'`));
    await until(() => mine.seen.length > 0, "the update");
    expect(mine.seen.map((change) => change.activity)).toEqual(["updated"]);
    // The reader's own statements do not count: while somebody else's transaction is open in the cluster, it looks again and again.
    const reads = services.statements.filter((text) => text.includes("attune.notification n"));
    const own = reads.filter((text) => !text.includes("h.hidden"));
    expect(own.length).toBeLessThan(8);
    expect(reads.length).toBeGreaterThan(own.length);
    await Promise.all([mine.stop(), ...others.map((other) => other.stop())]);
    await feed[Symbol.asyncDispose]();
  });

  test("a cursor that is none, from before a restore, or older than what is kept is refused", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    const first = (after: string) => feed.follow(everything, after, AbortSignal.timeout(5000)).next();
    await expect(first("nonsense")).rejects.toMatchObject({ code: "BAD_USER_INPUT" });
    await expect(first("0.1.1")).rejects.toMatchObject({ code: "CURSOR_EXPIRED" });
    const epoch = epochOf(feed.position());
    await expect(first(`${epoch}.99999999999.1`)).rejects.toMatchObject({ code: "CURSOR_EXPIRED" });
    await insertPack(services, "gone");
    await services.db.execute(sql`update attune.notification_epoch set pruned_xid = (select max(xid) from attune.notification),
      pruned_id = (select max(id) from attune.notification)`);
    await expect(first(`${epoch}.1.1`)).rejects.toMatchObject({
      code: "CURSOR_EXPIRED",
      oldestCursor: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    });
    await feed[Symbol.asyncDispose]();
  });

  test("labels of a future cluster (a dump restored elsewhere) empty the log and raise the epoch", async () => {
    await using services = await createServices();
    await migrate(services.database, async () => {});
    const before = await createFeed(services);
    const cursor = before.position();
    await before[Symbol.asyncDispose]();
    await insertPack(services, "restored");
    await services.db.execute(sql`insert into attune.execution (action_ref, on_worker_loss, trace_tag, status, finished_at)
      values ('core.noop', 'abandon', 't', 'failed', now())`);
    await services.db.execute(sql`alter table attune.pack disable trigger user`);
    await services.db.execute(sql`update attune.pack set changed = '9000000000'`);
    await services.db.execute(sql`alter table attune.pack enable trigger user`);
    await migrate(services.database, async () => {});
    const feed = await createFeed(services);
    const old = feed.follow(everything, cursor, AbortSignal.timeout(5000)).next();
    await expect(old).rejects.toMatchObject({ code: "CURSOR_EXPIRED" });
    const live = collect(feed);
    await write(services, (tx) => tx.db.execute(sql`update attune.pack set label = 'alive' where ref = 'restored'`));
    await until(() => live.seen.length === 1, "a change after the restore");
    expect(epochOf(live.seen[0]?.cursor ?? "")).toBeGreaterThan(epochOf(cursor));
    await live.stop();
    await feed[Symbol.asyncDispose]();
  });
});

const pgDump = spawnSync("pg_dump", ["--version"]).status === 0;

// A dump needs PostgreSQL and its client programs.
describe.runIf(onPostgres() && pgDump)("a dump restored into a fresh database", () => {
  test("answers CURSOR_EXPIRED to old cursors and goes on", async () => {
    await using services = await createServices();
    await migrate(services.database, async () => {});
    const before = await createFeed(services);
    const seen = collect(before);
    await insertPack(services, "dumped");
    await until(() => seen.seen.length === 1, "the change");
    const cursor = seen.seen[0]?.cursor ?? "";
    await seen.stop();
    await before[Symbol.asyncDispose]();
    const target = await cloneDatabase();
    const [from, to] = [services.location.url ?? "", target.url ?? ""];
    const dump = execFileSync("pg_dump", ["--clean", "--if-exists", from], { maxBuffer: 64 * 1024 * 1024 });
    execFileSync("psql", ["--quiet", "--output=/dev/null", to], { input: dump, stdio: ["pipe", "ignore", "pipe"] });
    await using restored = await createServices(target);
    await migrate(restored.database, async () => {});
    const feed = await createFeed(restored);
    await expect(feed.follow(everything, cursor, AbortSignal.timeout(5000)).next()).rejects.toMatchObject({
      code: "CURSOR_EXPIRED",
      oldestCursor: `${epochOf(feed.position())}.0.0`,
    });
    expect(epochOf(feed.position())).toBeGreaterThan(epochOf(cursor));
    const live = collect(feed, `${epochOf(feed.position())}.0.0`);
    await insertPack(restored, "after");
    await until(() => live.seen.length === 1, "a change after the restore");
    await live.stop();
    await feed[Symbol.asyncDispose]();
  });
});

// One connection cannot interleave two transactions: these need PostgreSQL.
describe.runIf(onPostgres())("the feed on PostgreSQL", () => {
  test("one row's changes come in order though the later writer's transaction began first", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    const live = collect(feed);
    await insertPack(services, "raced");
    const early = postgres(services.location.url ?? "", { max: 1 });
    const late = postgres(services.location.url ?? "", { max: 1 });
    const begun = Promise.withResolvers<void>();
    const mayGo = Promise.withResolvers<void>();
    const earlyDone = early.begin(async (tx) => {
      await tx`select pg_current_xact_id()`;
      begun.resolve();
      await mayGo.promise;
      await tx`update attune.pack set label = 'second' where ref = 'raced'`;
    });
    await begun.promise;
    await late`update attune.pack set label = 'first' where ref = 'raced'`;
    mayGo.resolve();
    await earlyDone;
    services.wake.announce(["feed"]);
    await until(() => live.seen.length === 3, "three changes");
    expect(live.seen.map((change) => change.activity)).toEqual(["created", "updated", "updated"]);
    const ids = live.seen.map((change) => change.id);
    expect(ids).toEqual([...ids].sort((a, b) => Number(a - b)));
    await Promise.all([live.stop(), early.end(), late.end()]);
    await feed[Symbol.asyncDispose]();
  });

  test("a write transaction open in another database delays a change; its end releases it within 200 ms", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    const live = collect(feed);
    const elsewhere = postgres(inject("serverUrl") ?? "", { max: 1 });
    const begun = Promise.withResolvers<void>();
    const mayEnd = Promise.withResolvers<void>();
    const held = elsewhere.begin(async (tx) => {
      await tx`select pg_current_xact_id()`;
      begun.resolve();
      await mayEnd.promise;
    });
    await begun.promise;
    await insertPack(services, "delayed");
    await until(() => feed.lagMs() > 300, "the lag to be measured");
    expect(live.seen).toHaveLength(0);
    mayEnd.resolve();
    await held;
    const released = performance.now();
    await until(() => live.seen.length === 1, "the change", 2000);
    expect(performance.now() - released).toBeLessThan(200);
    await Promise.all([live.stop(), elsewhere.end()]);
    await feed[Symbol.asyncDispose]();
  });
});
