import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { everyGrant, type Grant, holds } from "../../src/access/grants.ts";
import { setKey } from "../../src/access/key.ts";
import { openSession, type Session } from "../../src/access/session.ts";
import { createTrigger, enableWebhook } from "../../src/catalog/trigger.ts";
import { createWorkflowDefinition } from "../../src/catalog/workflow.ts";
import { createEvent } from "../../src/event/record.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { executeAction } from "../../src/execution/execute.ts";
import { schema } from "../../src/graphql/schema.ts";
import { createRule, deleteRule, setRuleEnabled, updateRule } from "../../src/rule/rule.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let limited: Session;

const sessionWith = (grants: readonly Grant[]): Session => ({
  ...openSession(String(world.session.identityId)),
  grants,
});
const forbidden = { code: "FORBIDDEN" };
const notFound = { code: "NOT_FOUND" };

beforeAll(async () => {
  world = await createWorld();
  limited = sessionWith([
    { resource: "action", actions: ["read"] },
    { resource: "action", actions: ["execute"], constraints: { except_refs: ["core.shell"] } },
    { resource: "rule", actions: ["create", "update", "delete", "read"] },
    { resource: "trigger", actions: ["read"], constraints: { refs: ["default.seen"] } },
  ]);
  const { services, session } = world;
  await commit(services, createTrigger, session, { ref: "default.seen" });
  await commit(services, createTrigger, session, { ref: "default.hidden" });
  await commit(services, createRule, session, {
    ref: "default.shell_rule",
    trigger: "default.seen",
    action: "core.shell",
    actionParams: { command: "true" },
    enabled: false,
  });
});
afterAll(() => world[Symbol.asyncDispose]());

describe("an identity reaches no further than its grants", () => {
  test("an action without the grant to execute it does not run: not by hand, not by a rule, not by another identity's rule", async () => {
    const { services } = world;
    const run = { action: "core.shell", parameters: { command: "true" }, timeoutSeconds: null, priority: null };
    await expect(commit(services, executeAction, limited, run)).rejects.toMatchObject(forbidden);
    const blind = { ...limited, grants: limited.grants.filter(({ actions }) => !actions.includes("read")) };
    await expect(commit(services, executeAction, blind, run)).rejects.toMatchObject(notFound);
    const rule = { ref: "default.own", trigger: "default.seen", action: "core.shell", actionParams: { command: "id" } };
    await expect(commit(services, createRule, limited, rule)).rejects.toMatchObject(forbidden);
    await commit(services, createRule, limited, { ...rule, action: "core.noop", actionParams: {} });
    const change = (ref: string, patch: object) =>
      commit(services, updateRule, limited, { ref, expectedUpdated: null, patch });
    const shell = { action: "core.shell", actionParams: { command: "id" } };
    await expect(change("default.own", shell)).rejects.toMatchObject(forbidden);
    await expect(change("default.shell_rule", { actionParams: { command: "id" } })).rejects.toMatchObject(forbidden);
    const enabling = commit(services, setRuleEnabled, limited, { ref: "default.shell_rule", enabled: true });
    await expect(enabling).rejects.toMatchObject(forbidden);
  });

  test("a rule requires the grant to read its trigger", async () => {
    const rule = { ref: "default.spy", trigger: "default.hidden", action: "core.echo" };
    await expect(commit(world.services, createRule, limited, rule)).rejects.toMatchObject(notFound);
  });

  test("a rule that uses what events contain requires the grant to read them, when it is saved and when an event arrives", async () => {
    const { services, session } = world;
    const rule = { ref: "default.spying", trigger: "default.seen", action: "core.echo" };
    const uses = {
      "a template": { actionParams: { message: "{{ event.payload.secret }}" } },
      "an event's id": { actionParams: { message: "{{ event.id }}" } },
      "a condition": {
        actionParams: { message: "x" },
        conditions: [{ field: "secret", operator: "equals", value: "a" }],
      },
      "a condition in CEL": {
        actionParams: { message: "x" },
        conditions: [{ expression: "event.payload.secret.startsWith('a')" }],
      },
    };
    for (const [what, fields] of Object.entries(uses))
      await expect(commit(services, createRule, limited, { ...rule, ...fields }), what).rejects.toMatchObject(
        forbidden,
      );
    await commit(services, createRule, limited, { ...rule, actionParams: { message: "{{ now }}" } });
    const change = (by: Session, patch: object) =>
      commit(services, updateRule, by, { ref: rule.ref, expectedUpdated: null, patch });
    for (const [what, fields] of Object.entries(uses))
      await expect(change(limited, fields), what).rejects.toMatchObject(forbidden);
    const reader = sessionWith([
      ...limited.grants,
      { resource: "event", actions: ["read"], constraints: { refs: ["default.seen"] } },
    ]);
    await change(reader, uses["a template"]);
    await expect(change(limited, { label: "Mine" })).rejects.toMatchObject(forbidden);
    // The owner loses the grant afterwards.
    const set = sql`insert into attune.permission_set (ref, pack_ref, label, grants) values ('default.blind', 'default', 'x', ${JSON.stringify(limited.grants)}::text::jsonb) returning id`;
    await world.all(sql`with owner as (insert into attune.identity (login) values ('blind') returning id), given as (${set}),
      assigned as (insert into attune.permission_assignment (identity, permission_set) select owner.id, given.id from owner, given)
      update attune.rule set owner = (select id from owner) where ref = 'default.spying'`);
    const executor = world.startExecutor();
    const event = await commit(services, createEvent, session, {
      trigger: "default.seen",
      payload: { secret: "abc" },
      traceTag: null,
    });
    const found = await until(
      async () =>
        (
          await world.all<{ error: unknown }>(
            sql`select error from attune.enforcement where event = ${event.id} and rule_ref = 'default.spying'`,
          )
        )[0],
      "the enforcement",
    );
    expect(found.error).toMatchObject({ code: "FORBIDDEN", message: expect.stringContaining("may not read events") });
    await executor.stop();
    await commit(services, deleteRule, session, { ref: rule.ref });
  });

  test("without the grant every verb refuses, and rows that may not be read are not found", async () => {
    const { services } = world;
    const ungranted = sessionWith([]);
    const keyed = { ...services, keyring: createKeyring(Buffer.alloc(32, 7)) };
    const event = { trigger: "default.seen", payload: {}, traceTag: null };
    const reader = sessionWith([{ resource: "*", actions: ["read"] }]);
    for (const [session, refusal] of [
      [ungranted, notFound],
      [reader, forbidden],
    ] as const) {
      await expect(commit(services, createEvent, session, event)).rejects.toMatchObject(refusal);
      await expect(commit(services, createTrigger, session, { ref: "default.mine" })).rejects.toMatchObject(refusal);
      await expect(commit(keyed, enableWebhook, session, { trigger: "default.seen" })).rejects.toMatchObject(refusal);
    }
    await expect(commit(services, deleteRule, ungranted, { ref: "default.shell_rule" })).rejects.toMatchObject(
      notFound,
    );
    const id = BigInt(await world.execute("core.noop"));
    const cancel = (session: Session) => commit(services, cancelExecution, session, { id, reason: null });
    await expect(cancel(ungranted)).rejects.toMatchObject(notFound);
    await expect(cancel(sessionWith([{ resource: "execution", actions: ["read"] }]))).rejects.toMatchObject(forbidden);
    const own: Grant = { resource: "execution", actions: ["cancel"], constraints: { owner: "self" } };
    await expect(cancel(sessionWith([own]))).resolves.toEqual({ id });
  });

  test("an identity that changes a rule becomes its owner", async () => {
    const { services, session } = world;
    await commit(services, createRule, session, { ref: "default.owned", trigger: "default.seen", action: "core.noop" });
    const other = { ...limited, identityId: null };
    await commit(services, updateRule, other, {
      ref: "default.owned",
      expectedUpdated: null,
      patch: { label: "Mine" },
    });
    const { owner } = await world.one<{ owner: string | null }>(
      sql`select owner::text from attune.rule where ref = 'default.owned'`,
    );
    expect(owner).toBeNull();
  });
});

describe("a key is not read by an identity that may not use it", () => {
  const reading = '{{ key("system.canary") }}';

  test("through the payload of a webhook or an event, which is never evaluated as a template", async () => {
    const { services, session } = world;
    const keyed = { ...services, keyring: createKeyring(Buffer.alloc(32, 7)) };
    await commit(keyed, setKey, session, {
      owner: { system: true },
      name: "canary",
      value: "the canary",
      encrypted: true,
      expectedUpdated: null,
    });
    const executor = world.startExecutor();
    const ref = await world.rule("default.seen", {
      action: "core.echo",
      actionParams: { message: "{{ event.payload.text }} and {{ event.payload }}" },
    });
    await world.event("default.seen", { text: reading });
    const { config } = await until(
      () =>
        world
          .all<{ config: { message: string } }>(
            sql`select x.config from attune.execution x join attune.enforcement e on e.id = x.enforcement where e.rule_ref = ${ref}`,
          )
          .then(([found]) => found),
      "the execution",
    );
    await executor.stop();
    expect(config.message).toBe(`${reading} and ${JSON.stringify({ text: reading })}`);
  });

  test("through a workflow: its definition is stored, and nothing runs it", async () => {
    const { services } = world;
    const author = sessionWith([
      { resource: "workflow_definition", actions: ["create", "read"] },
      { resource: "action", actions: ["execute", "read"] },
    ]);
    const tasks = [{ name: "read", action: "core.echo", input: { message: reading } }];
    await commit(services, createWorkflowDefinition, author, {
      ref: "default.reader",
      definition: { version: "1.0.0", tasks },
    });
    const run = { action: "default.reader", parameters: {}, timeoutSeconds: null, priority: null };
    await expect(commit(services, executeAction, author, run)).rejects.toMatchObject(notFound);
  });

  test("through a rule test or a workflow run: neither exists yet, and adding one requires a test here", () => {
    const fields = [schema.getQueryType(), schema.getMutationType()].flatMap((type) =>
      Object.keys(type?.getFields() ?? {}),
    );
    expect(fields.length).toBeGreaterThan(100);
    expect(fields.filter((name) => /test|lint|render|preview|(run|execute|start)Workflow/i.test(name))).toEqual([]);
  });
});

test("of two clients that update the same version of a rule, one gets a conflict, 20 times", async () => {
  const { services, session } = world;
  const ref = "default.contended";
  await commit(services, createRule, session, { ref, trigger: "default.seen", action: "core.noop" });
  for (let round = 0; round < 20; round += 1) {
    const { updated } = await world.one<{ updated: string }>(
      sql`select to_jsonb(updated) #>> '{}' as updated from attune.rule where ref = ${ref}`,
    );
    const change = (label: string) =>
      commit(services, updateRule, session, { ref, expectedUpdated: new Date(updated), patch: { label } });
    const ends = await Promise.allSettled([change(`a ${round}`), change(`b ${round}`)]);
    const refused = ends.filter((end) => end.status === "rejected");
    expect(refused).toMatchObject([{ reason: { code: "CONFLICT" } }]);
  }
});

describe("holding a grant", () => {
  const grant = (constraints?: Grant["constraints"]): Grant => ({ resource: "rule", actions: ["update"], constraints });
  test.each<[string, Grant, Grant, boolean]>([
    ["the same", grant(), grant(), true],
    ["narrower by packs", grant(), grant({ pack_refs: ["a"] }), true],
    ["wider by packs", grant({ pack_refs: ["a"] }), grant(), false],
    ["some of the packs", grant({ pack_refs: ["a", "b"] }), grant({ pack_refs: ["b"] }), true],
    ["another pack", grant({ pack_refs: ["a"] }), grant({ pack_refs: ["b"] }), false],
    ["without the exception", grant({ except_refs: ["core.shell"] }), grant(), false],
    ["with the exception and more", grant({ except_refs: ["a.x"] }), grant({ except_refs: ["a.x", "a.y"] }), true],
    ["refs that the exception spares", grant({ except_refs: ["a.x"] }), grant({ refs: ["a.y"] }), true],
    ["refs that the exception names", grant({ except_refs: ["a.x"] }), grant({ refs: ["a.x"] }), false],
    ["own rows, holding all", grant(), grant({ owner: "self" }), true],
    ["all rows, holding own", grant({ owner: "self" }), grant(), false],
    ["another action", grant(), { resource: "rule", actions: ["update", "delete"] }, false],
    ["every resource", grant(), { resource: "*", actions: ["update"] }, false],
  ])("%s", (_name, own, wanted, expected) => {
    expect(holds([own], wanted)).toBe(expected);
    expect(holds(everyGrant, wanted)).toBe(true);
  });
});
