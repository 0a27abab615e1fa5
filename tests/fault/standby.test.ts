import { sql } from "drizzle-orm";
import postgres from "postgres";
import { describe, expect, test } from "vitest";
import { openDatabase } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createWake } from "../../src/db/wake.ts";
import { createLog } from "../../src/log.ts";
import { createFeed } from "../../src/notifier/feed.ts";
import { first, follow, parts } from "../notifier/follow.ts";
import { createServers, hasServerPrograms } from "../support/cluster.ts";
import { onPostgres } from "../support/database.ts";
import { until } from "../support/until.ts";

const open = (url: string) => openDatabase({ url, dataDir: "", maxConnections: 4 });

// It creates a primary and a standby, for which it needs PostgreSQL's server programs.
describe.runIf(onPostgres() && hasServerPrograms())("a standby", () => {
  test("is refused; once promoted it has a new log, and open streams end", async () => {
    await using servers = createServers();
    const primary = await servers.create();
    await primary.start();
    const setup = await open(primary.url);
    await migrate(setup, async () => {});
    await setup[Symbol.asyncDispose]();
    const standby = await servers.createStandby(primary);
    // Both addresses, as in a client that follows a failover.
    const addresses = `127.0.0.1:${primary.port},127.0.0.1:${standby.port}`;
    const database = await open(`postgres://postgres@${addresses}/postgres?target_session_attrs=read-write`);
    const log = createLog({ level: "fatal", format: "json" });
    const wake = await createWake(database, log);
    const feed = await createFeed({ db: database.db, wake, log });
    const insert = async (ref: string) => {
      await database.db.execute(sql`insert into attune.pack (ref, label, version) values (${ref}, 'x', '1.0.0')`);
      wake.announce(["feed"]);
    };
    const live = follow(feed);
    await insert("kept");
    await until(() => live.seen.length === 1, "the first change");

    await standby.start();
    const reader = postgres(standby.url, { max: 1, onnotice: () => {} });
    const isReplayed = async () => (await reader`select from attune.pack where ref = 'kept'`).length === 1;
    await until(isReplayed, "the standby to replicate the change");
    await expect(reader`select * from attune.notification_settled(0)`).rejects.toThrow(/cannot be read on a standby/);
    await expect(open(standby.url)).rejects.toThrow(/is a standby: attune needs the primary server/);
    await standby.crash();
    await insert("lost");
    await until(() => live.seen.length === 2, "the change that the standby will not have");

    await primary.crash();
    await standby.start();
    const promoting = postgres(standby.url, { max: 1, onnotice: () => {} });
    expect(await promoting`select pg_promote() as promoted`).toEqual([{ promoted: true }]);
    wake.announce(["feed"]);
    expect(await live.ended).toMatchObject({ code: "CURSOR_EXPIRED", oldestCursor: expect.stringMatching(/\.0$/) });
    const [kept, lost] = live.seen.map(({ cursor }) => cursor);
    expect(parts(feed.start().cursor).log).not.toBe(parts(kept ?? "").log);
    for (const cursor of [kept, lost]) {
      await expect(first(feed, cursor ?? "")).rejects.toMatchObject({ code: "CURSOR_EXPIRED" });
    }
    await using resumed = follow(feed, `${parts(feed.start().cursor).log}.0`);
    await until(() => resumed.seen.length === 1, "the change that was kept");
    await insert("next");
    await until(() => resumed.seen.length === 2, "the change after the promotion");
    await feed[Symbol.asyncDispose]();
    await wake[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
    await reader.end({ timeout: 0 });
    await promoting.end({ timeout: 0 });
  }, 60_000);
});
