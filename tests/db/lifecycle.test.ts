import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { sql } from "drizzle-orm";
import postgres from "postgres";
import { describe, expect, inject, test, vi } from "vitest";
import { openDatabase, rows } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createVacuum } from "../../src/executor/retention.ts";
import { cloneDatabase, createServices, onPostgres } from "../support/database.ts";
import { databaseUrl } from "../support/template.ts";

const holder = join(import.meta.dirname, "../support/hold-database.ts");

/** Starts a process that opens the database; `opened` resolves to whether it could. */
function hold(where: string, work = "") {
  const child = spawn(process.execPath, ["--import", "./src/imports.js", holder, where, work], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const exited = once(child, "exit").then(([code]) => code as number | null);
  const opened = Promise.race([once(child.stdout, "data").then(() => true), exited.then(() => false)]);
  return { child, exited, opened, stderr: text(child.stderr) };
}

async function release({ child, exited }: { child: ChildProcess; exited: Promise<number | null> }) {
  child.stdin?.end();
  return await exited;
}

/** The embedded database takes ten times as long: there, a fortieth of the updates may take a fortieth of the space. */
const updates = onPostgres() ? 100_000 : 2_500;

describe(`a row that changes ${updates} times`, () => {
  test.each([
    [
      "worker",
      "last_heartbeat = clock_timestamp()",
      "insert into attune.worker (name, worker_type) values ('w', 'local')",
    ],
    [
      "timer",
      "next_fire_at = clock_timestamp(), fire_count = fire_count + 1",
      `with p as (insert into attune.pack (ref, label, version) values ('hot', 'h', '1.0.0') returning id),
        r as (insert into attune.rule (ref, pack, pack_ref, label, action_ref, trigger_ref)
          select 'hot.r', id, 'hot', 'r', 'core.noop', 'core.intervaltimer' from p returning id)
        insert into attune.timer (rule, kind) select id, 'interval:1' from r`,
    ],
  ])("%s: takes no more than 50 bytes for each update: 5 MB for 100,000", async (table, change, insert) => {
    await using services = await createServices();
    await services.db.execute(sql.raw(insert));
    const size = async () => {
      const [row] = await rows<{ bytes: number }>(
        services.db,
        sql`select pg_total_relation_size(${`attune.${table}`}::regclass)::int as bytes`,
      );
      return row?.bytes ?? 0;
    };
    const before = await size();
    const vacuum = createVacuum(services);
    const realNow = Date.now;
    let minutes = 0;
    const clock = vi.spyOn(Date, "now").mockImplementation(() => realNow() + minutes * 60_000);
    for (let round = 0; round < 10; round += 1) {
      // Each update is its own transaction, as in production.
      await services.db.execute(
        sql.raw(`do $$ begin
          set synchronous_commit = off;
          for n in 1..${updates / 10} loop update attune.${table} set ${change}; commit; end loop;
        end $$`),
      );
      // Between them runs, every few minutes, the sweep's vacuum, or PostgreSQL's own.
      minutes += 4;
      await vacuum();
      if (onPostgres()) await services.db.execute(sql.raw(`vacuum attune.${table}`));
    }
    clock.mockRestore();
    expect((await size()) - before).toBeLessThan(50 * updates);
  });
});

// With PostgreSQL, Attune has no data directory.
describe.runIf(!onPostgres())("the embedded database's directory", () => {
  test("is private to its owner, ignored by git, and locked by one process at a time, until kill -9", async () => {
    const { dataDir } = await cloneDatabase();
    const first = hold(dataDir);
    expect(await first.opened).toBe(true);
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    expect(readFileSync(join(dataDir, ".gitignore"), "utf8")).toBe("*\n");

    const second = hold(dataDir);
    expect(await second.opened).toBe(false);
    expect(await second.exited).toBe(1);
    expect(await second.stderr).toBe(
      `Another attune process is using the data directory ${dataDir}: stop it, or set ATTUNE__DATA_DIR to a directory of its own.\n`,
    );

    first.child.kill("SIGKILL");
    await first.exited;
    const third = hold(dataDir);
    expect(await third.opened).toBe(true);
    expect(await release(third)).toBe(0);
  }, 60_000);
});

// Several processes migrate one database: the embedded one belongs to one process.
describe.runIf(onPostgres())("a fresh PostgreSQL database", () => {
  test("is migrated once by three concurrent processes", async () => {
    const serverUrl = inject("serverUrl") ?? "";
    const admin = postgres(serverUrl, { max: 1, onnotice: () => {} });
    const name = `${inject("templates").nothing}_${randomUUID().slice(0, 8)}`;
    await admin`create database ${admin(name)}`;
    await admin.end();
    const url = databaseUrl(serverUrl, name);
    const processes = [1, 2, 3].map(() => hold(url, "migrate"));
    expect(await Promise.all(processes.map(({ opened }) => opened))).toEqual([true, true, true]);
    expect(await Promise.all(processes.map(release))).toEqual([0, 0, 0]);
    await using services = await createServices({ url, dataDir: "" });
    const applied = await rows(services.db, sql`select id from attune_migrations.migration`);
    const known = readdirSync(join(import.meta.dirname, "../../drizzle"));
    expect(applied).toHaveLength(known.length);
  });

  test("cancels a statement that takes too long; migrations have no time limit", async () => {
    const name = `${inject("templates").nothing}_${randomUUID().slice(0, 8)}`;
    const admin = postgres(inject("serverUrl") ?? "", { max: 1, onnotice: () => {} });
    await admin`create database ${admin(name)}`;
    await admin.end();
    const url = databaseUrl(inject("serverUrl") ?? "", name);
    const hurried = await openDatabase({ url, dataDir: "", maxConnections: 2, limits: { statement: 50 } });
    await migrate(hurried, async () => {});
    await expect(rows(hurried.db, sql`select pg_sleep(20)`)).rejects.toMatchObject({ cause: { code: "57014" } });
    expect(await rows(hurried.db, sql`select from attune.pack`)).toEqual([]);
    await hurried[Symbol.asyncDispose]();
  });

  test("that cannot be reached is refused in one sentence without its password", async () => {
    const away = hold("postgres://someone:hidden-word@127.0.0.1:1/nowhere");
    expect(await away.exited).toBe(1);
    expect(await away.stderr).toMatch(
      /^The database at 127\.0\.0\.1:1\/nowhere cannot be reached \(.+\): check .+\.\n$/,
    );
    expect(await away.stderr).not.toContain("hidden-word");
  });
});
