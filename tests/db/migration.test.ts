import { randomUUID } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type SQL, sql } from "drizzle-orm";
import type { PgliteDatabase } from "drizzle-orm/pglite";
import { migrate as migratePglite } from "drizzle-orm/pglite/migrator";
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { migrate as migratePostgres } from "drizzle-orm/postgres-js/migrator";
import postgres from "postgres";
import { beforeAll, expect, inject, test } from "vitest";
import { type Database, openDatabase, rows } from "../../src/db/client.ts";
import { runtimeQueue, startJobs } from "../../src/db/jobs.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createLog } from "../../src/log.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { overSocket } from "../support/client.ts";
import type { Location } from "../support/database.ts";
import { request, startInProcess } from "../support/server.ts";
import { databaseUrl } from "../support/template.ts";
import { until } from "../support/until.ts";

/** The last migration of the release that the tests start from. */
const released = "20261121165458_ended_tokens";
const log = createLog({ level: "error", format: "json" });

/** Creates an empty database for this test. */
async function emptyDatabase(): Promise<Location> {
  const serverUrl = inject("serverUrl");
  const dataDir = join(inject("scratch"), `released-${randomUUID().slice(0, 8)}`);
  if (serverUrl === null) return { url: null, dataDir };
  const name = `${inject("templates").nothing}_released`;
  const admin = postgres(serverUrl, { max: 1, onnotice: () => {} });
  await admin`create database ${admin(name)}`;
  await admin.end();
  return { url: databaseUrl(serverUrl, name), dataDir };
}

const open = (location: Location) => openDatabase({ ...location, maxConnections: 4, fsync: false });

/** Applies the migrations up to the release's last, as that release did. */
async function migrateAsReleased({ db, kind }: Database, scratch: string): Promise<void> {
  const migrationsFolder = join(scratch, "drizzle");
  mkdirSync(migrationsFolder, { recursive: true });
  for (const name of readdirSync("drizzle").filter((each) => each <= released)) {
    cpSync(join("drizzle", name), join(migrationsFolder, name), { recursive: true });
  }
  const settings = { migrationsFolder, migrationsSchema: "attune_migrations", migrationsTable: "migration" };
  if (kind === "pglite") await migratePglite(db as unknown as PgliteDatabase, settings);
  else await migratePostgres(db as unknown as PostgresJsDatabase, settings);
}

/** Runs several statements without parameters. */
async function runScript(database: Database, text: string): Promise<void> {
  if (database.pglite) {
    await database.pglite.exec(text);
    return;
  }
  const client = postgres(database.url ?? "", { max: 1, onnotice: () => {} });
  await client.unsafe(text);
  await client.end();
}

type Contents = Map<string, Map<string, Record<string, unknown>>>;

/** Reads every row of every table, by table and id. */
async function readAll({ db }: Database): Promise<Contents> {
  const all = <T extends object>(query: SQL) => rows<T>(db, query);
  const tables = await all<{ name: string }>(
    sql`select relname::text as name from pg_class where relnamespace = 'attune'::regnamespace and relkind = 'r' order by 1`,
  );
  const contents: Contents = new Map();
  for (const { name } of tables) {
    const found = await all<{ id: string; row: Record<string, unknown> }>(
      sql`select id::text, to_jsonb(t) as row from attune.${sql.identifier(name)} t`,
    );
    contents.set(name, new Map(found.map(({ id, row }) => [id, row])));
  }
  return contents;
}

/** The queue of events, which the release had. */
const eventQueue = "event";
let location: Location;
let before: Contents;
let after: Contents;
beforeAll(async () => {
  location = await emptyDatabase();
  const database = await open(location);
  await migrateAsReleased(database, location.dataDir);
  const jobs = await startJobs(database, log);
  const script = readFileSync("tests/db/released.sql", "utf8");
  await runScript(database, script.replace("/released/", `${process.cwd()}/`)); // the directory that the pack was loaded from
  const idOf = async (query: SQL) => (await rows<{ id: string }>(database.db, query)).map(({ id }) => ({ id }));
  for (const queue of [eventQueue, runtimeQueue("core.action.builtin")]) await jobs.open(queue);
  await jobs.add(
    database.db,
    eventQueue,
    await idOf(sql`select id::text from attune.event where trace_tag = 'deploy2'`),
  );
  await jobs.add(
    database.db,
    runtimeQueue("core.action.builtin"),
    await idOf(sql`select id::text from attune.execution where trace_tag = 'queued'`),
  );
  await jobs[Symbol.asyncDispose]();
  before = await readAll(database);
  await migrate(database, async () => {});
  after = await readAll(database);
  await database[Symbol.asyncDispose]();
}, 60_000);

/** What later migrations remove intentionally. */
const dropped = { tables: ["notification_epoch"], columns: ["changed", "xid", "state"] };
/** What they move elsewhere: the secrets of webhooks, which have a test of their own below. */
const isMoved = (table: string, { ref, name }: Record<string, unknown>) =>
  (table === "key" && name === "webhook-shared") || (table === "trigger" && String(ref).startsWith("vault."));
/** What they may change: a migration that updates a row also updates its version. */
const versions = ["updated"];

test("the release's database has rows of every kind", () => {
  const empty = [...before].filter(([, found]) => found.size === 0).map(([name]) => name);
  expect(empty).toEqual([]);
});

test("migrating keeps every row of the release, with every value", () => {
  for (const [table, kept] of before) {
    if (dropped.tables.includes(table)) continue;
    for (const [id, row] of kept) {
      if (isMoved(table, row)) continue;
      const now = after.get(table)?.get(id);
      const expected = Object.fromEntries(
        Object.entries(row).filter(([column]) => ![...dropped.columns, ...versions].includes(column)),
      );
      expect(now, `${table} ${id}`).toMatchObject(expected);
    }
  }
});

test("a rule of the release is the first revision that is kept, with the number that it had", () => {
  const kept = [...(after.get("rule_revision")?.values() ?? [])];
  const found = kept.map(({ rule, number, definition }) => [rule, number, (definition as { label: string }).label]);
  const rules = [...(after.get("rule")?.values() ?? [])].map(({ id, revision, label }) => [id, revision, label]);
  expect(found.sort()).toEqual(rules.sort());
  expect(rules.some(([, revision]) => Number(revision) > 1)).toBe(true);
});

const overview = `{ executions(first: 50) { nodes { id status traceTag actionRef } }
  events(first: 50) { nodes { traceTag evaluatedAt enforcements(first: 5) { nodes { ruleRef executions(first: 2) { nodes { status } } } } } }
  inquiries(first: 5) { nodes { id status } } viewer { identity { login } } }`;

interface Overview {
  executions: { nodes: { id: string; status: string; traceTag: string; actionRef: string }[] };
  events: {
    nodes: {
      traceTag: string;
      evaluatedAt: string | null;
      enforcements: { nodes: { ruleRef: string; executions: { nodes: { status: string }[] } }[] };
    }[];
  };
  inquiries: { nodes: { id: string; status: string }[] };
  viewer: { identity: { login: string } };
}

interface Message {
  cursor: string;
  executionId: string;
  toStatus: string;
}

test("unfinished executions end, the release's token is valid, its cursors have expired, and its log is readable", async () => {
  await using started = await startInProcess(location);
  const server = { url: started.url, token: `att_api_${"r".repeat(43)}` };
  const query = () => request<Overview>(server, overview);
  const { viewer, inquiries } = await query();
  expect(viewer.identity.login).toBe("admin");
  const stream = `subscription ($after: Cursor) { executionStatus(after: $after) { cursor executionId toStatus } }`;
  const old = overSocket<Message>(server, { query: stream, variables: { after: "1795251234.829.15" } });
  await until(() => old.error(), "the old cursor to be refused");
  const [refusal] = old.error() as { extensions: { code: string; oldestCursor: string } }[];
  expect(refusal?.extensions).toMatchObject({
    code: "CURSOR_EXPIRED",
    oldestCursor: expect.stringMatching(/^[0-9a-f]{12}\.\d+$/),
  });
  const live = overSocket<Message>(server, { query: stream, variables: { after: refusal?.extensions.oldestCursor } });

  const [{ id } = { id: "" }] = inquiries.nodes;
  await request(server, `mutation ($id: ID!) { respondToInquiry(input: {id: $id, response: true}) { __typename } }`, {
    id,
  });
  const waiting = ["REQUESTED", "SCHEDULING", "SCHEDULED", "RUNNING", "CANCELING"];
  const ended = await until(
    async () => {
      if ((await query()).events.nodes.some(({ evaluatedAt }) => evaluatedAt === null)) return null;
      const now = await query(); // what they have caused is there afterwards
      return now.executions.nodes.some(({ status }) => waiting.includes(status)) ? null : now;
    },
    "every unfinished execution to end",
    30_000,
  );
  const statuses = Object.fromEntries(ended.executions.nodes.map(({ traceTag, status }) => [traceTag, status]));
  expect(statuses).toMatchObject({
    completed: "COMPLETED",
    failed: "FAILED",
    part: "CANCELLED",
    queued: "COMPLETED",
    "without job": "COMPLETED",
    secret: "COMPLETED",
    requeued: "COMPLETED",
    abandoned: "ABANDONED",
    cancelled: "CANCELLED",
    waiting: "COMPLETED",
  });
  for (const traceTag of ["deploy2", "deploy3"]) {
    const event = ended.events.nodes.find((each) => each.traceTag === traceTag);
    const enforced = event?.enforcements.nodes.map(({ ruleRef, executions }) => [
      ruleRef,
      executions.nodes.map(({ status }) => status),
    ]);
    expect(enforced?.sort(), traceTag).toEqual([
      ["default.announce", ["COMPLETED"]],
      ["default.count", ["COMPLETED"]],
    ]);
  }
  // The timer has fired too, once.
  await until(async () => (await query()).events.nodes.length === 4, "the timer's event");

  const key = await request<{ revealKey: { revealed: { value: string } } }>(
    server,
    `mutation { revealKey(input: {ref: "system.database"}) { ... on RevealKeyPayload { revealed { value } } ... on Error { message } } }`,
  );
  expect(key.revealKey).toEqual({ revealed: { value: "hunter2 of the released version" } });

  // Every step of the release's executions is in the log, in order, followed by this version's.
  const requeued = ended.executions.nodes.find(({ traceTag }) => traceTag === "requeued");
  const steps = () =>
    live.seen.filter(({ executionId }) => executionId === requeued?.id).map(({ toStatus }) => toStatus);
  await until(() => steps().at(-1) === "COMPLETED", "the log of one of them");
  expect(steps()).toEqual(["REQUESTED", "SCHEDULING", "SCHEDULED", "RUNNING", "SCHEDULED", "RUNNING", "COMPLETED"]);
  expect(new Set(live.seen.map(({ cursor }) => cursor)).size).toBe(live.seen.length);
  live.drop();
}, 60_000);

test("the secrets of webhooks move from keys of their packs into their triggers", async () => {
  await using database = await open(location);
  const found = await rows<{ ref: string; config: object; secret: string }>(
    database.db,
    sql`select ref, webhook_config as config, webhook_secret as secret from attune.trigger where ref like 'vault.%' order by ref`,
  );
  const kept = { algorithm: "sha256", prefix: "sha256=" };
  const keyring = createKeyring(Buffer.alloc(32, 0x42));
  expect(found.map(({ secret, ...each }) => ({ ...each, secret: keyring.open(secret) }))).toEqual([
    {
      ref: "vault.github",
      config: {
        hmac: { ...kept, scheme: "github", header: "x-hub-signature-256" },
        delivery_header: "x-github-delivery",
        max_bytes: 1000,
      },
      secret: "hunter2 of the released version",
    },
    {
      ref: "vault.own",
      config: { hmac: { ...kept, scheme: "body", header: "x-own" }, delivery_header: null, max_bytes: 1000 },
      secret: "hunter2 of the released version",
    },
  ]);
  const keys = await rows<{ ref: string }>(database.db, sql`select ref from attune.key where name like 'webhook-%'`);
  expect(keys).toEqual([]);
});

test("secret settings that the release stored in clear are encrypted at the start", async () => {
  await using database = await open(location);
  const [found] = await rows<{ config: object; token: string; clear: number }>(
    database.db,
    sql`select config, secrets ->> '/token' as token,
        (select count(*)::int from attune.pack_release where manifest::text like '%of the release%') as clear
      from attune.pack where ref = 'vault'`,
  );
  expect(found).toMatchObject({ config: { token: "[secret]", region: "eu" }, clear: 0 });
  expect(createKeyring(Buffer.alloc(32, 0x42)).open(found?.token ?? "")).toBe("a token of the release");
});
