import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setEnabled } from "../../src/access/rows.ts";
import type { Session } from "../../src/access/session.ts";
import { createTrigger, deleteTrigger, updateTrigger } from "../../src/catalog/trigger.ts";
import { disableWebhook, enableWebhook, rotateWebhookKey } from "../../src/catalog/webhook.ts";
import { deleteEnforcement, deleteEvent, type EventFields, updateEvent } from "../../src/event/change.ts";
import { findWebhook } from "../../src/event/webhook.ts";
import { deleteExecution } from "../../src/execution/delete.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const create = (ref: string, fields = {}) => commit(world.services, createTrigger, world.session, { ref, ...fields });
const change = (ref: string, patch: object, expectedUpdated: Date | null = null) =>
  commit(world.services, updateTrigger, world.session, { ref, patch, expectedUpdated });
const remove = (ref: string) => commit(world.services, deleteTrigger, world.session, { ref });
const findRow = (ref: string) =>
  world.one<{ row: Record<string, unknown> }>(sql`select to_jsonb(t) as row from attune.trigger t where ref = ${ref}`);

describe("a trigger created by hand", () => {
  test("changes only in the fields given, if any", async () => {
    await create("default.changing", { description: "Before.", outSchema: { a: { type: "string" } } });
    const { row } = await findRow("default.changing");
    await change("default.changing", {});
    expect((await findRow("default.changing")).row).toEqual(row);
    await expect(change("default.changing", { label: "New" }, new Date(0))).rejects.toMatchObject({ code: "CONFLICT" });
    await change("default.changing", { label: "New", outSchema: null }, new Date(String(row["updated"])));
    expect((await findRow("default.changing")).row).toMatchObject({
      label: "New",
      out_schema: null,
      description: "Before.",
    });
    await expect(
      change("default.changing", { label: "", paramSchema: { x: { type: "y" } }, outSchema: { x: {} } }),
    ).rejects.toMatchObject({
      issues: expect.arrayContaining(
        ["label", "paramSchema.x.type", "outSchema.x.type"].map((path) => expect.objectContaining({ path })),
      ),
    });
    await expect(change("default.gone", {})).rejects.toMatchObject({ code: "NOT_FOUND", kind: "trigger" });
  });

  test("accepts events while it is enabled", async () => {
    const { services, session } = world;
    await create("default.switched");
    await commit(services, setEnabled("trigger"), session, { ref: "default.switched", enabled: false });
    await expect(world.event("default.switched")).rejects.toMatchObject({ code: "CONFLICT" });
    await commit(services, setEnabled("trigger"), session, { ref: "default.switched", enabled: true });
    await world.event("default.switched");
    const none = commit(services, setEnabled("trigger"), session, { ref: "default.none", enabled: true });
    await expect(none).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("is deleted with its webhook; rules and events keep its ref", async () => {
    await create("default.doomed");
    const hmac = { secret: "s3cr3t!" };
    await commit(world.services, enableWebhook, world.session, { trigger: "default.doomed", hmac });
    const rule = await world.rule("default.doomed");
    const event = await world.event("default.doomed");
    await remove("default.doomed");
    const kept = await world.one(
      sql`select r.trigger as rule, r.trigger_ref as ref, e.trigger as event, e.trigger_ref as "eventRef"
      from attune.rule r, attune.event e where r.ref = ${rule} and e.id = ${event}::bigint`,
    );
    expect(kept).toEqual({ rule: null, ref: "default.doomed", event: null, eventRef: "default.doomed" });
    await expect(remove("default.doomed")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

test("users can only enable or disable a pack's own trigger and its webhook", async () => {
  await expect(change("core.alert", { label: "Mine" })).rejects.toMatchObject({ code: "CONFLICT" });
  await expect(remove("core.alert")).rejects.toMatchObject({ code: "CONFLICT" });
  await change("core.alert", { enabled: false });
  expect((await findRow("core.alert")).row).toMatchObject({ enabled: false });
});

test("a webhook is switched off and on at the same path, until its key is rotated", async () => {
  const { services, session } = world;
  await create("default.hooked");
  const input = { trigger: "default.hooked" };
  await expect(commit(services, rotateWebhookKey, session, input)).rejects.toMatchObject({ code: "CONFLICT" });
  await commit(services, disableWebhook, session, input);
  await commit(services, enableWebhook, session, input);
  const key = async () => String((await findRow("default.hooked")).row["webhook_key"]);
  const first = await key();
  await commit(services, disableWebhook, session, input);
  expect(await findWebhook(services.db, first)).toBeNull();
  await commit(services, enableWebhook, session, input);
  expect(await key()).toBe(first);
  expect(await findWebhook(services.db, first)).not.toBeNull();
  await commit(services, rotateWebhookKey, session, input);
  expect(await findWebhook(services.db, first)).toBeNull();
  expect(await findWebhook(services.db, await key())).not.toBeNull();
});

test("what a change of a webhook leaves out stays as it is, also while it is disabled; null makes it the default", async () => {
  const { services, session } = world;
  await create("default.kept");
  const trigger = "default.kept";
  const enable = (input: object) => commit(services, enableWebhook, session, { trigger, ...input });
  const configured = async () => {
    const { row } = await findRow(trigger);
    const open = (name: string) => row[name] && services.keyring.open(String(row[name]));
    return [
      row["webhook_config"],
      open("webhook_secret"),
      open("webhook_previous_secret"),
      open("webhook_verify_token"),
    ];
  };
  const github = { scheme: "github", algorithm: "sha256", header: "x-hub-signature-256", prefix: "sha256=" };
  const set = { max_bytes: 5000, rate_limit: { requests: 2, seconds: 9 }, allow: ["192.0.2.7"], cloud_events: true };
  await enable({ hmac: { secret: "the first" }, maxBytes: 5000, rateLimit: set.rate_limit, deliveryHeader: "X-Id" });
  await enable({ allow: set.allow, cloudEvents: true, verifyToken: "a token" });
  await enable({ hmac: { secret: "the second" }, secretOverlapSeconds: 60, deliveryHeader: "X-Id" });
  const all = [{ ...set, hmac: github, delivery_header: "x-id" }, "the second", "the first", "a token"];
  await enable({});
  expect(await configured()).toEqual(all);
  await commit(services, disableWebhook, session, { trigger });
  await enable({ deliveryHeader: "X-Other" });
  expect(await configured()).toEqual([{ ...set, hmac: github, delivery_header: "x-other" }, ...all.slice(1)]);
  await enable({ deliveryHeader: null });
  expect((await configured())[0]).toMatchObject({ delivery_header: "x-github-delivery" });
  await expect(enable({ secretOverlapSeconds: 60 })).rejects.toMatchObject({
    issues: [{ path: "secretOverlapSeconds" }],
  });
  await enable({ hmac: { secret: "the third", scheme: "slack" } });
  await expect(enable({ deliveryHeader: "X-Id" })).rejects.toMatchObject({
    issues: [{ path: "deliveryHeader", message: "is fixed by the scheme SLACK: leave it out" }],
  });
  await enable({ hmac: null, maxBytes: null, rateLimit: null, allow: null, cloudEvents: null, verifyToken: null });
  const initial = { max_bytes: 1024 * 1024, rate_limit: null, allow: null, cloud_events: false };
  expect(await configured()).toEqual([
    { ...initial, hmac: null, delivery_header: "x-github-delivery" },
    null,
    null,
    null,
  ]);
});

test("a webhook's signature is configured by its sender's scheme", async () => {
  const { services, session } = world;
  await create("default.schemes");
  const enable = async (hmac: object | null, deliveryHeader: string | null = null) => {
    await commit(services, enableWebhook, session, { trigger: "default.schemes", hmac, deliveryHeader });
    const { webhook_config: config } = (await findRow("default.schemes")).row as { webhook_config: JsonObject };
    return [(config["hmac"] as JsonObject | null)?.["scheme"] ?? null, config["delivery_header"]];
  };
  const secret = "a secret";
  expect(await enable(null)).toEqual([null, "x-github-delivery"]);
  expect(await enable({ secret })).toEqual(["github", "x-github-delivery"]);
  expect(await enable({ secret, header: "X-Own" })).toEqual(["body", null]);
  expect(await enable({ secret, header: "X-Own" }, "X-Id")).toEqual(["body", "x-id"]);
  expect(await enable({ secret, scheme: "body" })).toEqual(["body", null]);
  expect(await enable({ secret, scheme: "slack" })).toEqual(["slack", null]);
  await expect(enable({ secret, scheme: "standard_webhooks" })).rejects.toMatchObject({
    issues: [{ path: "hmac.secret", message: expect.stringContaining("whsec_") }],
  });
  const fixed = { secret, scheme: "stripe", header: "x-own", prefix: "v1=", algorithm: "sha512" };
  await expect(enable(fixed, "x-id")).rejects.toMatchObject({
    issues: ["hmac.algorithm", "hmac.header", "hmac.prefix", "deliveryHeader"].map((path) => ({
      path,
      message: "is fixed by the scheme STRIPE: leave it out",
    })),
  });
});

test("the path and the secret before a rotation stay valid for the overlap, and no longer", async () => {
  const { services, session } = world;
  await create("default.overlap");
  const trigger = "default.overlap";
  const hmac = (secret: string) => ({ secret, scheme: "shopify" });
  const enable = (secret: string, secretOverlapSeconds: number | null = null, scheme = "shopify") =>
    commit(services, enableWebhook, session, { trigger, hmac: { ...hmac(secret), scheme }, secretOverlapSeconds });
  const rotate = async (overlapSeconds: number | null) =>
    (await commit(services, rotateWebhookKey, session, { trigger, overlapSeconds })).webhookKey;
  await expect(enable("the first secret", 60)).rejects.toMatchObject({ issues: [{ path: "secretOverlapSeconds" }] });
  const { webhookKey: first } = await enable("the first secret");
  const second = await rotate(3600);
  const found = async (key: string) => {
    const webhook = await findWebhook(services.db, key);
    return webhook?.secrets.map((each) => services.keyring.open(each)) ?? null;
  };
  expect([await found(first), await found(second)]).toEqual([["the first secret"], ["the first secret"]]);
  const third = await rotate(3600);
  expect([await found(first), (await found(second)) !== null, (await found(third)) !== null]).toEqual([
    null,
    true,
    true,
  ]);
  await enable("the second secret", 3600);
  expect(await found(second)).toEqual(["the second secret", "the first secret"]);
  await expect(enable("the third secret", 60, "typeform")).rejects.toMatchObject({
    issues: [{ path: "secretOverlapSeconds" }],
  });
  const over = (column: string) =>
    world.all(
      sql`update attune.trigger set ${sql.identifier(column)} = now() - interval '1 millisecond' where ref = ${trigger}`,
    );
  await over("webhook_previous_key_until");
  await over("webhook_previous_secret_until");
  expect([await found(second), await found(third)]).toEqual([null, ["the second secret"]]);
  const fourth = await rotate(3600);
  const fifth = await rotate(null);
  expect([await found(third), await found(fourth), (await found(fifth)) !== null]).toEqual([null, null, true]);
  await expect(rotate(31 * 86_400)).rejects.toMatchObject({ issues: [{ path: "overlapSeconds" }] });
});

test("a form that describes another sender's signature must sign what its check relies on", async () => {
  const { services, session } = world;
  await create("default.forms");
  const enable = (hmac: object, deliveryHeader: string | null = null) =>
    commit(services, enableWebhook, session, {
      trigger: "default.forms",
      hmac: { secret: "a secret", ...hmac },
      deliveryHeader,
    });
  const refusals: [object, string | null, string, string][] = [
    [{ signedText: "v0:{timestamp}" }, null, "signedText", "must contain {body}, which would not be signed otherwise"],
    [{ signedText: "{timestamp}{body}" }, null, "signedText", "has {timestamp}: name its header in timestampHeader"],
    [{ signedText: "{id}{body}" }, null, "signedText", "has {id}: name its header in deliveryHeader"],
    [{ signedText: "{body}{form}" }, null, "signedText", "has the unknown {form}"],
    [{ timestampHeader: "X-At" }, null, "signedText", "must contain {timestamp}, which would not be signed otherwise"],
    [{ timestampHeader: "X-At", signedText: "{timestamp}.{body}" }, "X-Id", "signedText", "must contain {id}, which"],
    [{ timestampHeader: "X At" }, null, "timestampHeader", "must be the name of an HTTP header"],
    [{ toleranceSeconds: 0 }, null, "toleranceSeconds", "expected a number of at least 1"],
    [{ scheme: "typeform", encoding: "hex" }, null, "encoding", "is fixed by the scheme TYPEFORM"],
  ];
  for (const [hmac, deliveryHeader, path, message] of refusals) {
    await expect(enable(hmac, deliveryHeader), JSON.stringify(hmac)).rejects.toMatchObject({
      issues: expect.arrayContaining([{ path: `hmac.${path}`, message: expect.stringContaining(message) }]),
    });
  }
  await enable({ timestampHeader: "X-At", signedText: "{timestamp}.{id}.{body}", algorithm: "sha1" }, "X-Id");
  const { webhook_config: config } = (await findRow("default.forms")).row as { webhook_config: JsonObject };
  expect(config["hmac"]).toEqual({
    ...{ scheme: "body", algorithm: "sha1", encoding: "hex", header: "x-hub-signature-256", prefix: "sha1=" },
    ...{ timestamp_header: "x-at", signed_text: "{timestamp}.{id}.{body}", tolerance_seconds: 300 },
  });
});

describe("stored history", () => {
  const eventOf = (id: string) =>
    world.one<{ payload: Json; config: JsonObject | null }>(
      sql`select payload, config from attune.event where id = ${id}::bigint`,
    );
  const correct = (id: string, patch: EventFields, session: Session = world.session) =>
    commit(world.services, updateEvent, session, { id: BigInt(id), patch });

  test("an event is corrected within its schema, with the grant; its enforcements and executions stay", async () => {
    await create("default.contract", { outSchema: { size: { type: "integer", required: true } } });
    const id = await world.event("default.contract", { size: 1 });
    await correct(id, { payload: { size: 2 }, config: { note: "x" } });
    expect(await eventOf(id)).toEqual({ payload: { size: 2 }, config: { note: "x" } });
    await correct(id, {});
    expect(await eventOf(id)).toEqual({ payload: { size: 2 }, config: { note: "x" } });
    await expect(correct(id, { payload: { size: "x" } })).rejects.toMatchObject({ issues: [{ path: "payload.size" }] });
    await expect(correct(id, { payload: [1] })).rejects.toMatchObject({ issues: [{ path: "payload" }] });
    const reader = { ...world.session, grants: [{ resource: "event", actions: ["read"] }] };
    await expect(correct(id, { payload: { size: 3 } }, reader)).rejects.toMatchObject({ code: "FORBIDDEN" });
    const ungranted = { ...world.session, grants: [] };
    await expect(correct(id, { payload: { size: 3 } }, ungranted)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await correct(id, { payload: null, config: null });
    expect(await eventOf(id)).toEqual({ payload: null, config: null });
    await expect(correct("999999", {})).rejects.toMatchObject({ code: "NOT_FOUND", kind: "event" });
  });

  test("a correction changes the event's version, its evaluation does not; a stale version is refused", async () => {
    await create("default.versions");
    const id = await world.event("default.versions", { size: 1 });
    const version = async () => {
      const row = await world.one<{ updated: string; evaluated: boolean }>(
        sql`select to_char(updated at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as updated, evaluated_at is not null as evaluated
          from attune.event where id = ${id}::bigint`,
      );
      return { ...row, updated: new Date(row.updated) };
    };
    const first = await version();
    const executor = world.startExecutor();
    await until(async () => (await version()).evaluated, "the evaluation");
    await executor.stop();
    expect((await version()).updated).toEqual(first.updated);
    const replace = (size: number) =>
      commit(world.services, updateEvent, world.session, {
        id: BigInt(id),
        expectedUpdated: first.updated,
        patch: { payload: { size } },
      });
    await replace(2);
    expect((await version()).updated.getTime()).toBeGreaterThan(first.updated.getTime());
    await expect(replace(3)).rejects.toMatchObject({ code: "CONFLICT" });
    expect((await eventOf(id)).payload).toEqual({ size: 2 });
  });

  test("an execution is deleted only once it has ended, an event and an enforcement at any time; related rows stay", async () => {
    const { services, session } = world;
    await create("default.past");
    await world.rule("default.past");
    const executor = world.startExecutor();
    const event = await world.event("default.past");
    const find = sql`select x.id::text as execution, f.id::text as enforcement from attune.execution x
      join attune.enforcement f on f.id = x.enforcement where f.event = ${event}::bigint`;
    const [created] = (await until(async () => {
      const found = await world.all<{ execution: string; enforcement: string }>(find);
      return found.length > 0 && found;
    }, "the execution")) as { execution: string; enforcement: string }[];
    if (!created) throw new Error("no execution was created");
    const execution = { id: BigInt(created.execution) };
    await expect(commit(services, deleteExecution, session, execution)).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("scheduled"),
    });
    await commit(services, deleteEvent, session, { id: BigInt(event) });
    const enforcement = sql`select event, rule_ref as rule from attune.enforcement where id = ${created.enforcement}::bigint`;
    expect(await world.one(enforcement)).toEqual({ event: null, rule: expect.any(String) });
    const worker = await world.startWorker();
    await world.ended(created.execution);
    await commit(services, deleteEnforcement, session, { id: BigInt(created.enforcement) });
    expect(await world.execution(created.execution)).toMatchObject({ status: "completed" });
    const ungranted = { ...session, grants: [] };
    await expect(commit(services, deleteExecution, ungranted, execution)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await commit(services, deleteExecution, session, execution);
    await expect(commit(services, deleteExecution, session, execution)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(commit(services, deleteEvent, session, { id: BigInt(event) })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    const gone = commit(services, deleteEnforcement, session, { id: BigInt(created.enforcement) });
    await expect(gone).rejects.toMatchObject({ code: "NOT_FOUND" });
    await executor.stop();
    await worker.stop();
  });
});
