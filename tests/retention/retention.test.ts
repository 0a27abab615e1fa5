import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { longestTolerance } from "../../src/catalog/signature-form.ts";
import { createTrigger } from "../../src/catalog/trigger.ts";
import { enableWebhook } from "../../src/catalog/webhook.ts";
import { type Db, rows } from "../../src/db/client.ts";
import { createPass, removeAll } from "../../src/retention/pass.ts";
import { cutoffsOf, removeBatch } from "../../src/retention/remove.ts";
import { ruleNames, rules } from "../../src/retention/rules.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { onPostgres } from "../support/database.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

/** Runs statements without triggers and foreign keys. */
async function seed(...statements: string[]): Promise<void> {
  await world.services.db.transaction(async (tx) => {
    await tx.execute(sql`set local session_replication_role = replica`);
    for (const statement of statements) await tx.execute(sql.raw(statement));
  });
}

/** An old execution that ended `days` days ago; null: it still waits. */
const execution = (tag: string, days: number | null, refers = "null, null, null, null") =>
  seed(`insert into attune.execution (action_ref, trace_tag, on_worker_loss, status, finished_at, created, parent, root, retry_of, enforcement)
    select 'core.noop', '${tag}', 'abandon', '${days === null ? "requested" : "completed"}', ${days === null ? "null" : `now() - interval '${days} days'`},
      now() - interval '40 days', ${refers}`);
const idOf = (tag: string) => `(select id from attune.execution where trace_tag = '${tag}')`;
const tags = async () =>
  (await world.all<{ tag: string }>(sql`select trace_tag as tag from attune.execution order by 1`)).map(
    ({ tag }) => tag,
  );

async function purge(input: object, session = world.session) {
  const { data, errors } = await api.ask(
    session,
    `mutation($input: PurgeInput!) { purge(input: $input) { __typename ... on PurgePayload { next purged { name count } } ... on Error { message } } }`,
    { input },
  );
  expect(errors).toBeUndefined();
  return data.purge;
}

/** Calls until there is no more. Returns the number of rows by rule. */
async function purgeAll(input: object): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let after: string | null = null; ; ) {
    const { purged, next } = await purge({ ...input, after });
    for (const { name, count } of purged) counts[name] = (counts[name] ?? 0) + count;
    after = next;
    if (after === null) return counts;
  }
}

test("what is needed stays, the rest goes as a dry run has said, and the log has no entry for it", async () => {
  await execution("old", 35);
  await execution("young end", 1);
  await execution("waits", null);
  await execution("parent", 35);
  await execution("child waits", null, `${idOf("parent")}, ${idOf("parent")}, null, null`);
  await execution("failed", 35);
  await execution("retry waits", null, `null, null, ${idOf("failed")}, null`);
  await execution("old root", 35);
  await execution("old part", 35, `${idOf("old root")}, ${idOf("old root")}, null, null`);
  await seed(
    `insert into attune.event (trigger_ref, trace_tag, created, evaluated_at) values
      ('core.alert', 'done', now() - interval '40 days', now() - interval '40 days'),
      ('core.alert', 'unevaluated', now() - interval '40 days', null),
      ('core.alert', 'caused', now() - interval '40 days', now()), ('core.alert', 'young', now(), now())`,
    `insert into attune.enforcement (rule_ref, trigger_ref, event, status, created)
      select 'core.' || trace_tag, 'core.alert', id, 'processed', now() - interval '40 days' from attune.event where trace_tag <> 'young'`,
    `update attune.execution set enforcement = (select id from attune.enforcement where rule_ref = 'core.caused') where trace_tag = 'waits'`,
    `insert into attune.execution_log (execution, seq, stream, at, text, created)
      select id, 1, 'stdout', now(), 'x', now() - interval '40 days' from attune.execution where trace_tag in ('young end', 'waits', 'old')`,
    `insert into attune.rule_evaluation (event, rule, rule_revision, matched, detail, created)
      select id, 1, 1, false, '[]', now() - interval '4 days' from attune.event`,
    `insert into attune.worker (name, worker_type, created, last_heartbeat) values
      ('gone', 'local', now() - interval '40 days', now() - interval '31 days'), ('here', 'local', now() - interval '40 days', now())`,
  );
  const before = await tags();
  const dry = await purgeAll({ dryRun: true });
  expect(await tags()).toEqual(before);
  const { data } = await api.ask(world.session, "{ retention { name days removable hasMore oldest } }");
  expect(data.retention.map(({ name }: { name: string }) => name.toLowerCase())).toEqual(ruleNames);
  for (const { name, removable, hasMore } of data.retention) {
    expect([name, removable, hasMore]).toEqual([name, dry[name], false]);
  }
  const newest = sql`select count(*)::int as count from attune.notification where activity = 'deleted' and entity_type <> 'worker'`;
  const entries = await world.one(newest);
  expect(await purgeAll({})).toEqual(dry);
  expect(dry).toMatchObject({
    EXECUTIONS: 3,
    ENFORCEMENTS: 1 + 1,
    EVENTS: 1,
    LOGS: 1,
    EVALUATIONS: 3,
    WORKERS: 1,
    AUDIT: 0,
  });
  expect(await world.one(newest)).toEqual(entries);
  expect(await tags()).toEqual(["child waits", "failed", "parent", "retry waits", "waits", "young end"]);
  expect(await world.all(sql`select trace_tag as tag from attune.event order by 1`)).toEqual(
    ["caused", "unevaluated", "young"].map((tag) => ({ tag })),
  );
  expect(Object.values(await purgeAll({ dryRun: true })).every((count) => count === 0)).toBe(true);
});

test("many rows take several calls and batches, and the audit trail is kept whatever is asked for", async () => {
  await seed(
    `insert into attune.event (trigger_ref, trace_tag, created, evaluated_at)
      select 'core.alert', 'many', now() - interval '20 days', now() from generate_series(1, 6000)`,
  );
  const olderThan = new Date(Date.now() - 10 * 24 * 3600_000).toISOString();
  const first = await purge({ name: "EVENTS", olderThan });
  expect(first.next).toMatch(/^events\./);
  expect(first.purged[0].count).toBeLessThanOrEqual(5000);
  const rest = await purge({ name: "EVENTS", olderThan, after: first.next });
  expect(first.purged[0].count + rest.purged[0].count).toBe(6000);
  expect(await purge({ name: "EVENTS", after: "audit.1" })).toMatchObject({ __typename: "InvalidInputError" });
  const now = new Date(Date.now() - 1).toISOString();
  expect(await purgeAll({ name: "AUDIT", olderThan: now })).toEqual({ AUDIT: 0 });
  const person = await createPerson(world.services, "reader", { grants: [{ resource: "event", actions: ["*"] }] });
  expect(await purge({ dryRun: true }, person)).toMatchObject({ __typename: "ForbiddenError" });
});

test("the ids of signed deliveries go when an old request is refused otherwise, or after their own period", async () => {
  for (const scheme of ["slack", "github", "body"]) {
    const trigger = `default.${scheme}`;
    await commit(world.services, createTrigger, world.session, { ref: trigger });
    const timed =
      scheme === "body"
        ? { timestampHeader: "x-at", signedText: "{timestamp}{body}", toleranceSeconds: longestTolerance }
        : {};
    await commit(world.services, enableWebhook, world.session, {
      trigger,
      hmac: { secret: "a secret", scheme, ...timed },
    });
  }
  const deliver = (trigger: string, isSigned: boolean, hours: number) =>
    seed(`insert into attune.webhook_delivery (trigger, status_code, duration_ms, size, hmac_verified, delivery_id, created)
      select id, 202, 1, 1, ${isSigned ? "true" : "null"}, '${trigger} ${isSigned} ${hours}', now() - interval '${hours} hours'
      from attune.trigger where ref = 'default.${trigger}'`);
  const left = async () =>
    (await world.all<{ id: string }>(sql`select d.delivery_id as id from attune.webhook_delivery d order by d.id`)).map(
      ({ id }) => id,
    );
  const days = { ...world.services.retention, deliveries: 1 };
  const services = { ...world.services, retention: days };
  const kept = ["slack true 47", "body true 47", "github true 8759"];
  const all: [string, boolean, number][] = [
    ...(["slack", "body"] as const).flatMap((name) =>
      [47, 49, 8761].map((hours): [string, boolean, number] => [name, true, hours]),
    ),
    ...[8759, 8761].map((hours): [string, boolean, number] => ["github", true, hours]),
    ["github", false, 49],
  ];
  for (const each of all) await deliver(...each);
  await removeAll(services, "deliveries");
  expect(await left()).toEqual(["slack true 47", "body true 47", "github true 8759", "github true 8761"]);
  await removeAll(services, "delivery_ids");
  expect(await left()).toEqual(kept);
  const olderThan = new Date(Date.now() - 1000).toISOString();
  await purgeAll({ name: "DELIVERIES", olderThan });
  await purgeAll({ name: "DELIVERY_IDS", olderThan });
  expect(await left()).toEqual(kept);
});

test("a rule of 0 days keeps its rows", async () => {
  await execution("kept", 300);
  const services = { ...world.services, retention: { ...world.services.retention, executions: 0 } };
  expect(await removeAll(services, "executions")).toBe(0);
  expect(await tags()).toContain("kept");
});

test("an executor deletes what is old by itself", async () => {
  await execution("left", 300);
  const executor = world.startExecutor();
  await until(async () => !(await tags()).includes("left"), "the deletion");
  await executor.stop();
});

test("of a large table, no batch of any rule reads more than its rows", async () => {
  await seed(
    `insert into attune.execution (action_ref, trace_tag, on_worker_loss, status, finished_at, created)
      select 'core.noop', 'large', 'abandon', 'completed', now(), now() - interval '40 days' from generate_series(1, 20000)`,
    `insert into attune.event (trigger_ref, trace_tag, created)
      select 'core.alert', 'large', now() - interval '40 days' from generate_series(1, 20000)`,
    `insert into attune.enforcement (rule_ref, trigger_ref, status, created)
      select 'core.large', 'core.alert', 'created', now() - interval '40 days' from generate_series(1, 20000)`,
  );
  for (const table of ["execution", "event", "enforcement"]) await world.all(sql.raw(`analyze attune.${table}`));
  for (const name of ["events", "enforcements", "executions"] as const) {
    const { table, batch } = rules[name];
    const sequential = async (db: Db) => {
      const [read] = await rows<{ count: number }>(
        db,
        sql`select sum(seq_tup_read)::float8 as count from pg_stat_xact_user_tables
          where relid in ('attune.execution'::regclass, 'attune.event'::regclass, 'attune.enforcement'::regclass)`,
      );
      return read?.count ?? 0;
    };
    await world.services.db.transaction(async (db) => {
      const before = await sequential(db);
      const range = { cutoffs: cutoffsOf(world.services.retention), after: "0" };
      const { hasMore } = await removeBatch(db, name, range);
      expect([table, hasMore, (await sequential(db)) - before]).toEqual([table, batch > 0, 0]);
    });
  }
});

// One connection cannot hold a lock while another transaction deletes.
test.skipIf(!onPostgres())("locked rows are left, without waiting", async () => {
  await execution("locked", 300);
  await execution("free", 300);
  await world.services.db.transaction(async (tx) => {
    await tx.execute(sql`select from attune.execution where trace_tag = 'locked' for key share`);
    await removeAll(world.services, "executions");
    expect(await tags()).toContain("locked");
    expect(await tags()).not.toContain("free");
  });
  await removeAll(world.services, "executions");
  expect(await tags()).not.toContain("locked");
});

test("a rule whose batch fails does not stop the rules after it", async () => {
  await seed(
    `insert into attune.event (trigger_ref, trace_tag, created, evaluated_at)
      values ('core.alert', 'stuck', now() - interval '40 days', now() - interval '40 days')`,
    `insert into attune.worker (name, worker_type, created) values ('gone', 'local', now() - interval '40 days')`,
    `create function attune.refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`,
    "create trigger refuse before delete on attune.event execute function attune.refuse()",
  );
  const pass = createPass(world.services, 60_000);
  const errors: unknown[] = [];
  for (let pause = 0, passes = 0; pause < 60_000 && passes < 100; passes += 1) {
    pause = await pass().catch((error: unknown) => {
      errors.push(error);
      return 0;
    });
  }
  expect(errors).toHaveLength(1);
  expect(await world.all(sql`select from attune.worker where name = 'gone'`)).toEqual([]);
  expect(await world.all(sql`select from attune.event where trace_tag = 'stuck'`)).toHaveLength(1);
  await seed("drop trigger refuse on attune.event", "drop function attune.refuse()");
});
