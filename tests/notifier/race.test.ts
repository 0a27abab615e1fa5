import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { sql } from "drizzle-orm";
import postgres from "postgres";
import { describe, expect, inject, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { createFeed, type Feed } from "../../src/notifier/feed.ts";
import type { Change, ChangeFilter } from "../../src/notifier/page.ts";
import { createServices, onPostgres, type TestServices } from "../support/database.ts";
import { until } from "../support/until.ts";
import { everything, follow } from "./follow.ts";
import { raceTable, randomTransaction } from "./race.ts";

// A channel that only this test has.
const raced = { ...everything, channel: "race" } as unknown as ChangeFilter;

interface Entry {
  id: number;
  row: number;
  /** The number of the row's update. */
  n: number;
}

const entryOf = ({ id, entityId, content }: Change): Entry => ({
  id: Number(id),
  row: Number(entityId),
  n: Number((content as unknown as { n: number }).n),
});

/** Follows in pieces: stops after every 37 changes and resumes with the last cursor. */
function followInPieces(feed: Feed) {
  const stopping = new AbortController();
  const seen: Change[] = [];
  const ended = (async () => {
    let cursor = feed.start().cursor;
    while (!stopping.signal.aborted) {
      for await (const change of feed.follow(raced, cursor, stopping.signal)) {
        seen.push(change);
        cursor = change.cursor;
        if (seen.length % 37 === 0) break;
      }
    }
  })();
  return {
    seen,
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await ended;
    },
  };
}

/** Waits until each follower has as many entries as the log, and compares: every entry once, in order, as are each row's updates. */
async function expectAll(services: TestServices, followers: readonly { seen: Change[] }[]): Promise<number> {
  const stored = await rows<Entry>(
    services.db,
    sql`select id::int, entity::int as row, (content ->> 'n')::int as n from attune.notification
      where channel = 'race' order by id`,
  );
  for (const { seen } of followers) {
    await until(() => seen.length >= stored.length, `${stored.length} changes`);
    expect(seen.map(entryOf)).toEqual(stored);
  }
  const updates = new Map<number, number>();
  for (const { row, n } of stored) {
    expect(n, `row ${row}`).toBe((updates.get(row) ?? 0) + 1);
    updates.set(row, n);
  }
  const items = await rows<{ id: number; n: number }>(services.db, sql`select id, n from race.item where n > 0`);
  expect(new Map(items.map(({ id, n }) => [id, n]))).toEqual(updates);
  return stored.length;
}

test("random transactions one after another, 100 of them: every committed entry once, each row's in order", async () => {
  await using services = await createServices();
  for (const statement of raceTable) await services.db.execute(sql.raw(statement));
  const feed = await createFeed(services);
  await using live = follow(feed, null, raced);
  await using pieces = followInPieces(feed);
  for (let count = 0; count < 100; count += 1) {
    const { steps, end } = randomTransaction();
    await services.db
      .transaction(async (tx) => {
        for (const step of steps) if (typeof step === "string") await tx.execute(sql.raw(step));
        if (end === "rollback") tx.rollback();
      })
      .catch((error: unknown) => {
        if (end === "commit") throw error;
      });
    services.wake.announce(["feed"]);
  }
  expect(await expectAll(services, [live, pieces])).toBeGreaterThan(300);
  await feed[Symbol.asyncDispose]();
});

const connections = 4;

/** Runs a process of writers, killed after that many commits; null: runs to its end. */
function startWriters(url: string, transactions: number, killAfter: number | null): Promise<unknown> {
  const script = new URL("writer.ts", import.meta.url).pathname;
  const child: ChildProcess = spawn(process.execPath, [script, url, String(connections), String(transactions)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let commits = 0;
  child.stdout?.on("data", (dots: Buffer) => {
    commits += dots.length;
    if (killAfter !== null && commits >= killAfter) child.kill("SIGKILL");
  });
  return once(child, "exit").then(([code, signal]) => {
    expect({ code, signal }).toEqual(
      killAfter === null ? { code: 0, signal: null } : { code: null, signal: "SIGKILL" },
    );
  });
}

// One connection cannot run concurrent writers: these need PostgreSQL.
describe.runIf(onPostgres())("16 concurrent writers on PostgreSQL", () => {
  test("of random transactions, some killed, beside a foreign transaction: every committed entry once, each row's in order", async () => {
    await using services = await createServices();
    const url = services.location.url ?? "";
    for (const statement of raceTable) await services.db.execute(sql.raw(statement));
    // The readers' isolation level does not matter.
    await using strict = await createServices({
      ...services.location,
      url: `${url}?default_transaction_isolation=serializable`,
    });
    await using repeatable = await createServices({
      ...services.location,
      url: `${url}?default_transaction_isolation=repeatable%20read`,
    });
    expect(await rows(strict.db, sql`show transaction_isolation`)).toEqual([{ transaction_isolation: "serializable" }]);
    const feeds = await Promise.all([createFeed(services), createFeed(strict, 10), createFeed(repeatable)]);
    const [feed, small, other] = feeds;
    await using live = follow(feed, null, raced);
    await using pieces = followInPieces(small);
    await using third = follow(other, null, raced);

    const elsewhere = postgres(inject("serverUrl") ?? "", { max: 1 });
    const begun = Promise.withResolvers<void>();
    const mayEnd = Promise.withResolvers<void>();
    const foreign = elsewhere.begin(async (tx) => {
      await tx`create temporary table nightly_load (n int)`;
      begun.resolve();
      await mayEnd.promise;
      return await tx`insert into nightly_load values (1) returning n`;
    });
    await begun.promise;

    const survivors = [1, 2].map(() => startWriters(url, 25, null));
    const killed = [1, 2].map(async () => {
      for (let round = 0; round < 3; round += 1) await startWriters(url, 1000, 5 + Math.floor(Math.random() * 40));
      await startWriters(url, 10, null);
    });
    await Promise.all([...survivors, ...killed]);
    await until(async () => {
      const [left] = await rows<{ count: number }>(
        services.db,
        sql`select count(*)::int as count from pg_stat_activity where application_name = 'race writer'`,
      );
      return left?.count === 0;
    }, "the killed writers' connections to end");
    const stored = await expectAll(services, [live, pieces, third]);
    expect(stored).toBeGreaterThan(1000);
    // It has been open all the time.
    mayEnd.resolve();
    expect(await foreign).toEqual([{ n: 1 }]);
    await elsewhere.end();
    for (const each of feeds) await each[Symbol.asyncDispose]();
  }, 60_000);
});
