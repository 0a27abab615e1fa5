import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { extraOf } from "../../src/cli/define.ts";
import { openDatabase } from "../../src/db/client.ts";
import { readObjects } from "../../src/db-admin/verify.ts";
import { commandsOf, describedProgram, type Outcome, runCommand, spawnCommand } from "../support/cli.ts";
import { cloneDatabase, type Location, onPostgres, removeClones } from "../support/database.ts";
import { request, serverEnvironment, startInProcess } from "../support/server.ts";
import { databaseUrl } from "../support/template.ts";
import { onTerminal } from "../support/terminal.ts";

afterAll(removeClones);

/** Returns where a database could be created. */
function newLocation(): Location {
  const name = `${inject("templates").nothing}_${randomUUID().slice(0, 8)}`;
  const serverUrl = inject("serverUrl");
  const dataDir = join(inject("scratch"), randomUUID().slice(0, 8));
  return { url: serverUrl && databaseUrl(serverUrl, name), dataDir };
}

/** The commands that have run. */
const ran = new Set<string>();

/** Runs `attune db` in the test's process. */
function db(location: Location, ...args: string[]): Promise<Outcome> {
  ran.add(args.join(" "));
  return runCommand(["db", ...args], { env: serverEnvironment(location) });
}

/** Runs `attune db` as a process without a terminal. */
function spawnDb(location: Location, ...args: string[]): Promise<Outcome> {
  ran.add(args.join(" "));
  const command = spawnCommand(["db", ...args], { env: serverEnvironment(location) });
  command.end("yes\n"); // which is no response: it is not from a terminal
  return command.ended;
}

/** Runs SQL in the database. */
async function run(location: Location, ...statements: string[]): Promise<void> {
  await using database = await openDatabase({ ...location, maxConnections: 1, fsync: false });
  for (const statement of statements) await database.db.execute(sql.raw(statement));
}

/** Returns the names of the tables that have rows. */
async function filled(location: Location): Promise<string[]> {
  const { stdout } = await db(location, "status", "--output", "json");
  const { tables } = JSON.parse(stdout) as { tables: { name: string; rows: number }[] };
  return tables.filter(({ rows }) => rows > 0).map(({ name }) => name);
}

const place = ({ url, dataDir }: Location) => (url === null ? dataDir : `${new URL(url).host}${new URL(url).pathname}`);

test("the list of what verify expects is what the migrations create", async () => {
  await using database = await openDatabase({ ...(await cloneDatabase()), maxConnections: 1, fsync: false });
  const lines = await readObjects(database.db);
  await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot("../../src/db-admin/expected.txt");
});

describe("a database from its creation to its end, by processes", () => {
  const location = newLocation();

  test("is not there at first, and creating it is safe for two at once", async () => {
    expect(await db(location, "status")).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: There is no database at ${place(location)}: "attune db setup" creates it.\n`,
    });
    const both = await Promise.all([spawnDb(location), spawnDb(location, "setup")]);
    const failed = both.filter(({ code }) => code !== 0);
    if (onPostgres()) expect(failed).toEqual([]);
    else for (const { stderr } of failed) expect(stderr).toMatch(/^error: Another attune process is using/);
    expect(both.map(({ stderr }) => stderr).join("")).toContain(
      `The database at ${place(location)} is created.\nThe database at ${place(location)} has all `,
    );
    expect(await db(location, "create")).toMatchObject({ code: 0, stderr: expect.stringContaining("exists already") });
    for (const again of ["migrate", "setup --settings .env"]) {
      expect(await db(location, ...again.split(" "))).toMatchObject({
        code: 0,
        stderr: expect.stringMatching(/ none was pending\.\n$/),
      });
    }
  });

  test("is verified: what was dropped, disabled or made invalid is missing, by its name", async () => {
    const whole = await spawnDb(location, "verify");
    expect(whole).toMatchObject({ code: 0, stderr: expect.stringMatching(/^All \d+ are found\.\n$/) });
    for (const line of [/^KIND +NAME +STATE$/m, /^table +action +found$/m, /^view +action_policy +found$/m]) {
      expect(whole.stdout).toMatch(line);
    }
    await run(
      location,
      "drop index attune.execution_action_idx",
      "drop view attune.pack_latest_test",
      "drop function attune.pack_has_passing_tests",
      "alter table attune.audit_event disable trigger audit_no_truncate",
      "alter table attune.pack drop column checksum",
    );
    const { code, stdout, stderr } = await db(location, "verify", "--output", "json");
    const objects = JSON.parse(stdout) as { kind: string; name: string; state: string }[];
    const missing = objects.filter(({ state }) => state === "missing").map(({ kind, name }) => `${kind} ${name}`);
    expect({ code, missing }).toEqual({
      code: 1,
      missing: [
        "column pack.checksum",
        "view pack_latest_test",
        expect.stringMatching(/^function pack_has_passing_tests\(/),
        "trigger audit_event.audit_no_truncate",
        "index execution_action_idx",
      ],
    });
    expect(stderr).toBe(`5 of ${objects.length} are missing: ${missing.join(", ")}.\n`);
  });

  test("has a status: its version, the migrations, and the rows of each table", async () => {
    const { code, stdout } = await db(location, "status", "--output", "json");
    const status = JSON.parse(stdout);
    expect({ code, status }).toMatchObject({
      code: 0,
      status: {
        database: {
          kind: location.url === null ? "embedded" : "postgres",
          version: expect.stringMatching(/PostgreSQL \d+/),
        },
        migrations: { applied: expect.any(Number), pending: [], latest: expect.stringMatching(/^\d{14}_/) },
      },
    });
    expect(status.migrations.applied).toBe(readdirSync("drizzle").filter((name) => /^\d{14}_/.test(name)).length);
    const rows = new Map(status.tables.map((table: { name: string; rows: number }) => [table.name, table.rows]));
    expect([rows.get("pack_test_execution"), rows.get("execution")]).toEqual([0, 0]);
    expect(rows.get("execution_move")).toBeGreaterThan(10);
  });

  test("is not touched without a terminal and without --yes", async () => {
    const refusal = (name: string) => ({
      code: 2,
      stdout: "",
      stderr: `error: There is no terminal to ask on: "attune db ${name} --yes" goes on without asking.\n`,
    });
    expect(await spawnDb(location, "drop")).toEqual(refusal("drop"));
    expect(await db(location, "reset")).toEqual(refusal("reset"));
    expect(await db(location, "clean")).toEqual(refusal("clean"));
    expect(await filled(location)).toEqual(["execution_move"]);
  });

  test("is removed and created anew when the user says so on the terminal, and only then", async () => {
    const reset = (typed: string) =>
      onTerminal(["db", "reset"], serverEnvironment(location), { prompt: 'Type "yes" to go on: ', typed });
    for (const typed of ["no\r", "\u0004"]) {
      expect(await reset(typed)).toEqual({ code: 1, shown: expect.stringContaining("Nothing was changed.") });
    }
    expect(await reset("ye\u0003")).toMatchObject({ code: 130 });
    expect(await db(location, "verify")).toMatchObject({ code: 1 });
    expect(await reset("yes\r")).toMatchObject({ code: 0 });
    expect(await db(location, "verify")).toMatchObject({ code: 0 });
  });

  test("is removed for good", async () => {
    expect(await db(location, "drop", "--yes")).toMatchObject({ code: 0 });
    expect(existsSync(join(location.dataDir, "pgdata"))).toBe(false);
    expect(await db(location, "drop", "--yes")).toMatchObject({
      code: 1,
      stderr: `error: There is no database at ${place(location)}.\n`,
    });
  });
});

describe("the database of a server", () => {
  let location: Location;
  beforeAll(async () => {
    location = await cloneDatabase("core");
  });

  test("is neither removed nor emptied while the server runs", async () => {
    await using _server = await startInProcess(location);
    const refusal = onPostgres()
      ? /^error: (The database at .* has connections of others \(.* × attune.*\)|Servers use the database at .* \(\d+ connections\)): stop/
      : /^error: Another attune process is using the data directory .*: stop it/;
    for (const name of ["drop", "reset", "clean"]) {
      expect(await db(location, name, "--yes")).toMatchObject({ code: 1, stderr: expect.stringMatching(refusal) });
    }
  });

  test("is emptied by clean, keeps its schema and position, and the next start loads the packs", async () => {
    expect(await filled(location)).toEqual(expect.arrayContaining(["action", "identity", "pack"]));
    expect(await db(location, "clean", "--yes")).toMatchObject({ code: 0 });
    expect(await filled(location)).toEqual(["execution_move", "notification_retention"]);
    expect(await db(location, "verify")).toMatchObject({ code: 0 }); // the guard of the audit trail included
    await using server = await startInProcess(location);
    const { packByRef } = await request<{ packByRef: { ref: string } | null }>(
      server,
      `{ packByRef(ref: "core") { ref } }`,
    );
    expect(packByRef).toEqual({ ref: "core" });
  });
});

describe("what cannot be done is refused", () => {
  let location: Location;
  beforeAll(async () => {
    location = await cloneDatabase();
  });

  test("a newer database, by all but drop and reset", async () => {
    await run(
      location,
      "insert into attune_migrations.migration (hash, created_at, name) values ('x', 99999999999999, '99990101000000_later')",
    );
    for (const name of ["setup", "clean --yes", "verify", "status"]) {
      expect(await db(location, ...name.split(" "))).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          /^error: The database belongs to a newer version of Attune \(.*99990101000000_later/,
        ),
      });
    }
    await run(location, "delete from attune_migrations.migration where name like '9999%'");
  });

  test.each(["--url", "--token", "--profile"])("%s, which names a server", async (name) => {
    expect(await db(location, "drop", "--yes", name, "http://127.0.0.1:1")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`${name} names a server`),
    });
  });

  test("a wrong setting, and a database that cannot be reached, without its password", async () => {
    const env = { ATTUNE__DATABASE__URL: "postgres://someone:hidden-word@127.0.0.1:1/nowhere" };
    const settings = join(inject("scratch"), `${randomUUID()}.env`);
    writeFileSync(settings, "ATTUNE__DATABASE__UR=x\n");
    expect(await runCommand(["db", "status", "--settings", settings], { env })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("did you mean"),
    });
    for (const name of [["status"], ["setup"], ["drop", "--yes"]]) {
      const { code, stderr } = await runCommand(["db", ...name], { env });
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(/^error: The database at 127\.0\.0\.1:1\/nowhere cannot be reached/),
      });
      expect(stderr).not.toContain("hidden-word");
    }
  });
});

// Only PostgreSQL has other users and other tables.
describe.runIf(onPostgres())("dropping a PostgreSQL database", () => {
  test("is refused to a user who should create it anew and may not", async () => {
    const { url } = await cloneDatabase();
    const name = `attune_test_${randomUUID().slice(0, 8)}`;
    const admin = postgres(inject("serverUrl") ?? "", { max: 1, onnotice: () => {} });
    const own = new URL(url ?? "");
    await admin.unsafe(`create role ${name} login password 'secret'`);
    await admin.unsafe(`alter database ${own.pathname.slice(1)} owner to ${name}`);
    Object.assign(own, { username: name, password: "secret" });
    const location = { url: own.href, dataDir: "" };
    expect(await db(location, "reset", "--yes")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error: This user may not create databases, so the one at \S+ stays: /),
    });
    expect(await db(location, "drop", "--yes")).toMatchObject({ code: 0 });
    expect(await db(location, "setup")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error: PostgreSQL does not create \S+ \(permission denied .*administrator/),
    });
    await admin.unsafe(`drop role ${name}`);
    await admin.end();
  });

  test("is refused while it has tables of something else, or others are connected, unless forced", async () => {
    const { url } = await cloneDatabase();
    const other = postgres(url ?? "", { max: 1, onnotice: () => {}, connection: { application_name: "other" } });
    const location = { url, dataDir: "" };
    await other`create table ledger (id int)`;
    expect(await db(location, "drop", "--yes", "--force")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("has tables of something else (ledger)"),
    });
    await other`drop table ledger`;
    expect(await db(location, "drop", "--yes")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("has connections of others (1 × other): stop the servers first"),
    });
    expect(await db(location, "reset", "--yes", "--force")).toMatchObject({ code: 0 });
    // Its connection has ended; the next one is to the new database.
    expect(await other`select 1`.catch(() => other`select 1`)).toHaveLength(1);
    expect(await other`select ref from attune.pack`).toEqual([]);
    await other.end();
  });
});

test("every example of the help has run", () => {
  const examples = commandsOf(describedProgram())
    .flatMap(({ command }) => extraOf(command).examples)
    .filter((line) => line.startsWith("db "));
  expect(examples.length).toBeGreaterThan(8);
  expect(examples.filter((line) => !ran.has(line.slice("db ".length)))).toEqual([]);
});
