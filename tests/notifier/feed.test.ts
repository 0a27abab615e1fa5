import { sql } from "drizzle-orm";
import { describe, expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { write } from "../../src/db/tx.ts";
import { createFeed } from "../../src/notifier/feed.ts";
import { removeAll } from "../../src/retention/pass.ts";
import { createServices, type TestServices, withoutFeed } from "../support/database.ts";
import { until } from "../support/until.ts";
import { everything, first, follow, insertPack, parts } from "./follow.ts";

/** Ages every entry beyond its retention and runs the retention. */
async function emptyLog(services: TestServices): Promise<void> {
  await services.db.execute(sql`update attune.notification set created = now() - interval '8 days'`);
  await removeAll(services, "notifications");
}

describe("the feed", () => {
  test("delivers 800 changes of 16 concurrent writers once each, live and again by cursor", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    const live = follow(feed);
    const start = feed.start().cursor;
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
    const replayed = follow(feed, start);
    await until(() => replayed.seen.length >= 800, "the replay");
    expect(replayed.seen.map((change) => change.cursor)).toEqual(live.seen.map((change) => change.cursor));
    const halfway = live.seen[399]?.cursor ?? "";
    const rest = follow(feed, halfway);
    await until(() => rest.seen.length >= 400, "the rest");
    expect(rest.seen[0]?.cursor).toBe(live.seen[400]?.cursor);
    for (const follower of [live, replayed, rest]) await follower[Symbol.asyncDispose]();
    await feed[Symbol.asyncDispose]();
  });

  test("a follower that lags behind the ring reads from the table without a gap, in numeric order", async () => {
    await using services = await createServices();
    const feed = await createFeed(services, 10);
    const start = feed.start().cursor;
    for (let n = 0; n < 150; n += 1) await insertPack(services, `pack-${n}`);
    await using late = follow(feed, start);
    await until(() => late.seen.length >= 150, "150 changes");
    await insertPack(services, "pack-150");
    await until(() => late.seen.length >= 151, "the live one");
    expect(new Set(late.seen.map((change) => change.entityId)).size).toBe(151);
    // As texts, 10 would precede 9 and 100 would precede 99.
    const ids = late.seen.map((change) => Number(change.id));
    expect(ids).toEqual([...ids].sort((a, b) => a - b));
    expect(Math.min(...ids)).toBeLessThan(10);
    expect(await feed.replay(everything, start, 200)).toEqual(late.seen);
    await feed[Symbol.asyncDispose]();
  });

  test("an idle follower runs no statement; a filter by entity delivers only that entity", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    const opening = follow(feed, feed.start().cursor);
    await insertPack(services, "one");
    await until(() => opening.seen.length > 0, "the feed to have passed the earlier changes");
    await opening[Symbol.asyncDispose]();
    const [{ id } = { id: "0" }] = await rows<{ id: string }>(
      services.db,
      sql`select id::text from attune.pack where ref = 'one'`,
    );
    await using mine = follow(feed, null, { ...everything, channel: "pack", entityId: BigInt(id) });
    const others = Array.from({ length: 50 }, () => follow(feed, null, { ...everything, entityId: -1n }));
    await insertPack(services, "two");
    await write(services, (tx) => tx.db.execute(sql`update attune.pack set label = 'new' where ref = 'one'`));
    await until(() => mine.seen.length > 0, "the update");
    expect(mine.seen.map((change) => change.activity)).toEqual(["updated"]);
    const reads = services.statements.filter((text) => text.includes("attune.notification n"));
    expect(withoutFeed(reads).length).toBeLessThan(8);
    expect(reads.length).toBeGreaterThan(withoutFeed(reads).length);
    for (const other of others) await other[Symbol.asyncDispose]();
    await feed[Symbol.asyncDispose]();
  });

  test("one statement reads the settled position, and another the entries, outside of a transaction", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    await using live = follow(feed);
    services.statements.length = 0;
    await insertPack(services, "read");
    await until(() => live.seen.length > 0, "the change");
    const reader = services.statements.filter((text) => !withoutFeed([text]).length);
    expect(reader.length).toBeGreaterThan(1);
    for (const text of reader) {
      expect(text.includes("notification_settled") && text.includes("attune.notification n")).toBe(false);
      expect(text).not.toMatch(/begin/i);
    }
    await feed[Symbol.asyncDispose]();
  });
});

describe("a cursor", () => {
  test("that is invalid, of another log, in three parts, or of the future is refused", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    await insertPack(services, "here");
    const { log } = parts(feed.start().cursor);
    for (const nonsense of ["nonsense", `${log}.`, `${log}.x`, `${log}.-1`, `${log}.9999999999999999999`, "1.2", ""]) {
      await expect(first(feed, nonsense), nonsense).rejects.toMatchObject({ code: "BAD_USER_INPUT" });
    }
    for (const expired of ["0123456789ab.1", "1795251234.829.15", `${log}.9999999999`]) {
      const refusal = { code: "CURSOR_EXPIRED", oldestCursor: `${log}.0` };
      await expect(first(feed, expired), expired).rejects.toMatchObject(refusal);
      await expect(feed.replay(everything, expired, 10), expired).rejects.toMatchObject(refusal);
    }
    expect((await first(feed, `${log}.0`))?.channel).toBe("pack");
    await feed[Symbol.asyncDispose]();
  });

  test("before what retention removed is refused with the oldest valid one, which then works", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    await using live = follow(feed);
    const start = feed.start().cursor;
    for (const ref of ["one", "two", "three"]) await insertPack(services, ref);
    await until(() => live.seen.length === 3, "three changes");
    const [one, two, three] = live.seen.map(({ cursor }) => cursor);
    await services.db.execute(sql`update attune.notification set created = now() - interval '8 days'
      where id <= ${String(parts(two ?? "").id)}::bigint`);
    await removeAll(services, "notifications");
    for (const expired of [start, one ?? ""]) {
      await expect(first(feed, expired)).rejects.toMatchObject({ code: "CURSOR_EXPIRED", oldestCursor: two });
    }
    expect((await first(feed, two ?? ""))?.cursor).toBe(three);
    expect((await feed.replay(everything, null, 10)).map(({ cursor }) => cursor)).toEqual([three]);
    await feed[Symbol.asyncDispose]();
  });

  test("keeps its place when retention empties the log", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    await using live = follow(feed);
    const start = feed.start().cursor;
    await insertPack(services, "gone");
    await until(() => live.seen.length === 1, "the change");
    const last = live.seen[0]?.cursor ?? "";
    await emptyLog(services);
    const fresh = await createFeed(services);
    for (const each of [feed, fresh]) {
      expect(each.start().cursor).toBe(last);
      await expect(first(each, start)).rejects.toMatchObject({ code: "CURSOR_EXPIRED", oldestCursor: last });
      expect(await each.replay(everything, last, 10)).toEqual([]);
    }
    const resumed = [follow(feed, last), follow(fresh, last)];
    await insertPack(services, "after");
    await until(() => resumed.every(({ seen }) => seen.length === 1), "the change after it");
    expect(live.seen).toHaveLength(2);
    for (const follower of resumed) await follower[Symbol.asyncDispose]();
    await feed[Symbol.asyncDispose]();
    await fresh[Symbol.asyncDispose]();
  });
});
