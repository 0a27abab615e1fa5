import { execFileSync, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import postgres from "postgres";
import { describe, expect, inject, test } from "vitest";
import { createFeed } from "../../src/notifier/feed.ts";
import { cloneDatabase, createServices, type Location, onPostgres, type TestServices } from "../support/database.ts";
import { databaseUrl } from "../support/template.ts";
import { until } from "../support/until.ts";
import { first, follow, insertPack, parts } from "./follow.ts";

const pgDump = spawnSync("pg_dump", ["--version"]).status === 0;

const dump = (from: Location) => execFileSync("pg_dump", [from.url ?? ""], { maxBuffer: 64 * 1024 * 1024 });

/** Replaces the database's content with the dump. */
function restore(dumped: Buffer, to: Location): void {
  const strictly = ["--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1"];
  const emptying = "drop schema attune, attune_jobs, attune_migrations cascade;\n";
  const input = Buffer.concat([Buffer.from(emptying), dumped]);
  execFileSync("psql", [...strictly, to.url ?? ""], { input, stdio: ["pipe", "ignore", "pipe"] });
}

/** Inserts packs while following, and returns the cursors of their changes. */
async function cursorsOf(services: TestServices, refs: readonly string[]): Promise<string[]> {
  const feed = await createFeed(services);
  await using live = follow(feed);
  for (const ref of refs) await insertPack(services, ref);
  await until(() => live.seen.length === refs.length, "the changes");
  await feed[Symbol.asyncDispose]();
  return live.seen.map(({ cursor }) => cursor);
}

/** Expects that old cursors are refused with one that delivers every kept change, and then the next. */
async function expectOtherLog(services: TestServices, old: readonly string[]): Promise<void> {
  const feed = await createFeed(services);
  const { log } = parts(feed.start().cursor);
  const oldest = `${log}.0`;
  for (const cursor of old) {
    expect(parts(cursor).log).not.toBe(log);
    await expect(first(feed, cursor)).rejects.toMatchObject({ code: "CURSOR_EXPIRED", oldestCursor: oldest });
  }
  await using resumed = follow(feed, oldest);
  await until(() => resumed.seen.length > 0, "the kept changes");
  const kept = resumed.seen.length;
  await insertPack(services, `after-${randomUUID()}`);
  await until(() => resumed.seen.length > kept, "the change after it");
  await feed[Symbol.asyncDispose]();
}

// A dump needs PostgreSQL and its client programs.
describe.runIf(onPostgres() && pgDump)("a dump", () => {
  test("restored into another database has another log", async () => {
    await using services = await createServices();
    const old = await cursorsOf(services, ["one", "two"]);
    const target = await cloneDatabase();
    restore(dump(services.location), target);
    await using restored = await createServices(target);
    await expectOtherLog(restored, old);
  });

  test("that is older and restored in place has another log, and ends open streams", async () => {
    await using services = await createServices();
    const feed = await createFeed(services);
    const early = follow(feed);
    await insertPack(services, "dumped");
    await until(() => early.seen.length === 1, "the change before the dump");
    const dumped = dump(services.location);
    const waiting = follow(feed, feed.start().cursor, { channel: "worker", entityId: -1n, matches: () => true });
    await insertPack(services, "lost");
    await until(() => early.seen.length === 2, "the change after the dump");
    restore(dumped, services.location);
    services.wake.announce(["feed"]);
    for (const { ended } of [early, waiting]) {
      expect(await ended).toMatchObject({
        code: "CURSOR_EXPIRED",
        oldestCursor: expect.stringMatching(/^[0-9a-f]{12}\.0$/),
      });
    }
    await using next = follow(feed);
    await insertPack(services, "next");
    await until(() => next.seen.length === 1, "a change after the restore");
    await feed[Symbol.asyncDispose]();
    await expectOtherLog(
      services,
      early.seen.map(({ cursor }) => cursor),
    );
  });
});

// The embedded database has no templates.
describe.runIf(onPostgres())("a database created from another as its template", () => {
  test("has another log", async () => {
    const location = await cloneDatabase();
    const serverUrl = inject("serverUrl") ?? "";
    const old = await (async () => {
      await using services = await createServices(location);
      return await cursorsOf(services, ["one", "two"]);
    })();
    const original = new URL(location.url ?? "").pathname.slice(1);
    const copy = `${original}_copy`;
    const admin = postgres(serverUrl, { max: 1, onnotice: () => {} });
    await admin`create database ${admin(copy)} template ${admin(original)}`;
    await admin.end();
    await using copied = await createServices({ ...location, url: databaseUrl(serverUrl, copy) });
    await expectOtherLog(copied, old);
  });
});
