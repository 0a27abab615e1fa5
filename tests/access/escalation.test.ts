import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { everyGrant, type Grant, holds } from "../../src/access/grants.ts";
import { setKey } from "../../src/access/key.ts";
import { openSession, type Session } from "../../src/access/session.ts";
import { createAction, updateAction } from "../../src/catalog/action.ts";
import { loadPack } from "../../src/catalog/load.ts";
import { createPack, updatePack } from "../../src/catalog/pack.ts";
import { readPack } from "../../src/catalog/read.ts";
import { createTrigger, deleteTrigger } from "../../src/catalog/trigger.ts";
import { enableWebhook } from "../../src/catalog/webhook.ts";
import { createWorkflowDefinition } from "../../src/catalog/workflow.ts";
import { write } from "../../src/db/tx.ts";
import { createEvent } from "../../src/event/record.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { executeAction } from "../../src/execution/execute.ts";
import { schema } from "../../src/graphql/schema.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { packRules } from "../../src/rule/check.ts";
import { lintRule } from "../../src/rule/lint.ts";
import { createRule, deleteRule, setRuleEnabled, updateRule } from "../../src/rule/rule.ts";
import { testRule } from "../../src/rule/try.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { commit } from "../support/commit.ts";
import { createEvaluator } from "../support/evaluator.ts";
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

  test("through a test or a check of a rule: both refuse it, or show its ref", async () => {
    const { services, session } = world;
    const rule = await world.rule("default.seen", { action: "core.echo", actionParams: { message: "x" } });
    const tested = {
      rule,
      draft: null,
      contents: { actionParams: { message: reading } },
      event: null,
      payload: {},
      at: null,
    };
    const may = (...grants: Grant[]) =>
      sessionWith([
        { resource: "rule", actions: ["read", "update"] },
        { resource: "trigger", actions: ["read"] },
        { resource: "action", actions: ["execute", "read"] },
        { resource: "event", actions: ["read"] },
        ...grants,
      ]);
    await expect(testRule(services.db, may(), tested)).rejects.toMatchObject(notFound);
    const found = await testRule(services.db, session, tested);
    expect(found.parameters).toEqual({ message: "[secret:system.canary]" });
    const findings = lintRule(
      { condition: "all", conditions: [], actionRef: "core.echo", actionParams: { message: reading } },
      { payload: null, parameters: null },
    );
    expect(JSON.stringify(findings)).not.toContain("the canary");
  });

  test("through what else computes something from a rule or a workflow: there is nothing, and adding it requires a test here", () => {
    const fields = [schema.getQueryType(), schema.getMutationType()].flatMap((type) =>
      Object.keys(type?.getFields() ?? {}),
    );
    expect(fields.length).toBeGreaterThan(100);
    const found = fields.filter((name) => /test|lint|render|preview|(run|execute|start)Workflow/i.test(name));
    // The runs of packs' tests have nothing to do with rules.
    expect(found.sort()).toEqual([
      ...["deletePackTestRuns", "lintRule", "packTestExecution", "packTestExecutions", "packTestProgressMessages"],
      ...["ruleBacktestMessages", "testPack", "testRule"],
    ]);
  });
});

describe("a key is not read by an identity that may use it in rules", () => {
  const pin = "48151623421337";
  const keyRef = "system.pin";
  let editor: Session;
  let keyed: World["services"];

  beforeAll(async () => {
    const { services, session } = world;
    keyed = { ...services, keyring: createKeyring(Buffer.alloc(32, 7)) };
    const set = (name: string, value: string) =>
      commit(keyed, setKey, session, { owner: { system: true }, name, value, encrypted: true, expectedUpdated: null });
    await set("pin", pin);
    await set("long_pin", "9".repeat(10_000));
    await commit(services, createTrigger, session, { ref: "default.ask" });
    const { id } = await world.one<{ id: string }>(
      sql`with i as (insert into attune.identity (login) values ('editor') returning id),
          a as (insert into attune.permission_assignment (identity, permission_set)
            select i.id, s.id from i, attune.permission_set s where s.ref = 'core.editor')
        select id::text from i`,
    );
    const { grants } = await world.one<{ grants: Grant[] }>(
      sql`select grants from attune.permission_set where ref = 'core.editor'`,
    );
    editor = {
      ...openSession(id),
      login: "editor",
      grants: [...grants, { resource: "action", actions: ["create", "update"] }],
    };
  });

  const save = (action: string, actionParams: JsonObject, session = editor) =>
    commit(world.services, createRule, session, {
      ref: "default.asking",
      trigger: "default.ask",
      action,
      actionParams,
    });
  const refused = (path: string, message = "takes secrets") => ({
    issues: [{ path: `actionParams.${path}`, message: expect.stringContaining(message) }],
  });

  test.each<[string, string, JsonObject, string]>([
    ["a number", "core.fail", { exit_code: `{{ key("${keyRef}") }}` }, "exit_code"],
    ["a number in text", "core.fail", { exit_code: `1{{ key("${keyRef}") }}` }, "exit_code"],
    ["a duration", "core.sleep", { seconds: `0.{{ key("${keyRef}") }}` }, "seconds"],
    ["an enum", "core.http_request", { url: "http://x", method: `{{ key("${keyRef}") }}` }, "method"],
    [
      "a boolean",
      "core.http_request",
      { url: "http://x", follow_redirects: `{{ key("${keyRef}") }}` },
      "follow_redirects",
    ],
    [
      "a list's item",
      "core.http_request",
      { url: "http://x", expect_status: [`{{ key("${keyRef}") }}`] },
      "expect_status.0",
    ],
    ["a whole list", "core.shell", { command: "true", args: `{{ key("${keyRef}") }}` }, "args"],
    ["a command", "core.shell", { command: `exit {{ key("${keyRef}") }}` }, "command"],
    ["a question", "core.inquire", { prompt: `{{ key("${keyRef}") }}`, assigned_to: "admin" }, "prompt"],
    ["an assignee", "core.inquire", { prompt: "?", assigned_to: `{{ key("${keyRef}") }}` }, "assigned_to"],
    [
      "a response",
      "core.inquire",
      { prompt: "?", default_response: { a: `{{ key("${keyRef}") }}` } },
      "default_response.a",
    ],
  ])("in a parameter that is no masked text: %s", async (_name, action, actionParams, path) => {
    await expect(save(action, actionParams, world.session)).rejects.toMatchObject(refused(path));
  });

  test.each([
    `int(key("${keyRef}"))`,
    `size(key("${keyRef}"))`,
    `key("${keyRef}") < event.payload.guess`,
    `key("${keyRef}").startsWith(event.payload.guess) ? "yes" : "no"`,
    `key("${keyRef}") + ""`,
    `[key("${keyRef}")]`,
    `{"k": key("${keyRef}")}`,
    `string(key("${keyRef}"))`,
    `key(event.payload.which)`,
    `["a"].map(x, key("${keyRef}"))`,
  ])("by computing with it: %s", async (expression) => {
    const message = "key() cannot be part of an expression";
    await expect(save("core.echo", { message: `{{ ${expression} }}` })).rejects.toMatchObject(
      refused("message", message),
    );
    const condition = commit(world.services, createRule, editor, {
      ref: "default.asking",
      trigger: "default.ask",
      action: "core.noop",
      conditions: [{ expression }],
    });
    await expect(condition).rejects.toMatchObject({
      issues: [{ path: "conditions.0.expression", message: expect.stringContaining(message) }],
    });
  });

  test("by a check of its contents, nor by an own action that makes it an exit code", async () => {
    const { services } = world;
    const declare = (ref: string, name: string, parameter: JsonObject) =>
      commit(services, createAction, editor, {
        ref,
        runtime: ref.startsWith("core.") ? "core.action.shell" : "core.action.builtin",
        entrypoint: ref.startsWith("core.") ? "actions/fail.sh" : "core.http_request",
        parameterDelivery: "file",
        parameterFormat: "dotenv",
        paramSchema: { [name]: parameter },
      });
    const whole = `{{ key("${keyRef}") }}`;
    const guesses: JsonObject[] = [
      { pattern: "^4" },
      { enum: ["4"] },
      { min_length: 14 },
      { max_length: 14 },
      { format: "ipv4" },
    ];
    for (const [index, guess] of guesses.entries()) {
      const ref = `default.guess_${index}`;
      await declare(ref, "url", { type: "string", secret: true, ...guess });
      await expect(save(ref, { url: whole })).rejects.toMatchObject(refused("url", "checks its contents"));
    }
    await declare("default.nothing", "url", {
      type: "object",
      enum: [{ a: pin }],
      properties: { a: { type: "string", secret: true } },
    });
    await expect(save("default.nothing", { url: { a: whole } })).rejects.toMatchObject(
      refused("url.a", "checks its contents"),
    );
    await declare("core.loud", "exit_code", { type: "string", secret: true });
    await expect(save("core.loud", { exit_code: whole })).rejects.toMatchObject(refused("exit_code"));
    await declare("core.louder", "message", { type: "string", secret: true });
    await save("core.louder", { message: whole });
    await commit(services, deleteRule, editor, { ref: "default.asking" });
  });

  test("by a rule or a schema from before: 17 events get no exit code", async () => {
    const { services } = world;
    const own = { ref: "default.own_fail", runtime: "core.action.builtin", entrypoint: "core.http_request" };
    const url = (parameter: object) => ({ url: { type: "string", ...parameter } });
    await commit(services, createAction, editor, { ...own, paramSchema: url({ secret: true }) });
    const rules = ["core.fail", "core.echo", "default.own_fail"].map((action, index) => ({
      ref: `default.old_${index}`,
      action,
    }));
    for (const { ref, action } of rules) {
      const actionParams: JsonObject = action === "default.own_fail" ? { url: `{{ key("${keyRef}") }}` } : {};
      const required = action === "core.echo" ? { message: "x" } : actionParams;
      await commit(services, createRule, editor, { ref, trigger: "default.ask", action, actionParams: required });
    }
    const params = (ref: string, value: object) =>
      world.all(sql`update attune.rule set action_params = ${JSON.stringify(value)}::text::jsonb where ref = ${ref}`);
    await params("default.old_0", {
      exit_code: `{{ int(key("${keyRef}").substring(event.payload.i, event.payload.i + 1)) + 1 }}`,
    });
    await params("default.old_1", { message: `{{ key("${keyRef}").startsWith(event.payload.s) ? "yes" : "no" }}` });
    await commit(services, updateAction, editor, {
      ref: own.ref,
      patch: { paramSchema: url({ secret: true, pattern: "^4" }) },
      expectedUpdated: null,
    });
    const look = createEvaluator({ ...world, services: keyed });
    for (let i = 0; i < 17; i += 1) {
      const event = await world.event("default.ask", { i, s: pin.slice(0, i) });
      await look.evaluate();
      const found = (await look.enforced(event)).filter(({ rule }) => rule.startsWith("default.old_"));
      expect(found).toHaveLength(3);
      for (const each of found) {
        expect(each).toMatchObject({ execution: null, config: null, error: { code: "PARAMETERS_INVALID" } });
      }
      expect(JSON.stringify(found)).not.toContain(pin.slice(0, 4));
    }
    for (const { ref } of rules) await commit(services, deleteRule, editor, { ref });
  });

  test("by its size: a limit is the same for a short and a long one", async () => {
    const { services } = world;
    const rule = (ref: string, key: string) =>
      commit(services, createRule, editor, {
        ref,
        trigger: "default.ask",
        action: "core.echo",
        actionParams: { message: `{{ event.payload.pad }}{{ key("${key}") }}` },
      });
    await rule("default.size_short", keyRef);
    await rule("default.size_long", "system.long_pin");
    const look = createEvaluator({ ...world, services: keyed });
    for (const size of [1, 1024 * 1024 - 5000]) {
      const event = await world.event("default.ask", { pad: "x".repeat(size) });
      await look.evaluate();
      const found = (await look.enforced(event)).filter(({ rule }) => rule.startsWith("default.size_"));
      expect(found.map(({ error, executionStatus }) => [error, executionStatus])).toEqual([
        [null, "scheduled"],
        [null, "scheduled"],
      ]);
    }
    for (const name of ["short", "long"]) await commit(services, deleteRule, editor, { ref: `default.size_${name}` });
    const many = (count: number) => `{{ key("${keyRef}") }}`.repeat(count);
    await expect(save("core.http_request", { url: many(30), headers: { "x-a": many(21) } })).rejects.toMatchObject({
      issues: [{ path: "actionParams", message: expect.stringContaining("at most 50") }],
    });
  });

  test("by a rule of a pack", async () => {
    const directory = mkdtempSync(join(tmpdir(), "attune-pack-"));
    mkdirSync(join(directory, "rules"));
    writeFileSync(join(directory, "pack.yaml"), "ref: spying\nlabel: Spying\nversion: 1.0.0\n");
    writeFileSync(
      join(directory, "rules/spy.yaml"),
      `ref: spying.spy\nlabel: Spy\ntrigger_ref: core.webhook\naction_ref: core.fail\naction_params:\n  exit_code: '{{ key("${keyRef}") }}'\n`,
    );
    const read = await readPack(directory);
    await expect(write(world.services, (tx) => loadPack(tx, read, packRules))).rejects.toMatchObject({
      issues: [
        { path: "rules/spy.yaml:6:14 action_params.exit_code", message: expect.stringContaining("takes secrets") },
      ],
    });
    rmSync(directory, { recursive: true });
  });
});

describe("a pack's secret setting is not read by an identity that may use it in rules", () => {
  const token = "the token of the vault";
  let editor: Session;

  beforeAll(async () => {
    const { services, session } = world;
    await commit(services, createPack, session, {
      ref: "vault",
      confSchema: { token: { type: "string", secret: true }, region: { type: "string" } },
      config: { token, region: "eu" },
    });
    await commit(services, createTrigger, session, { ref: "vault.ask" });
    editor = sessionWith([
      { resource: "rule", actions: ["create", "update", "read"] },
      { resource: "action", actions: ["execute", "read"] },
      { resource: "trigger", actions: ["read"] },
      { resource: "event", actions: ["read"] },
    ]);
  });

  const keyUse: Grant = { resource: "key", actions: ["use"], constraints: { pack_refs: ["vault"] } };
  const save = (name: string, message: string, session = editor) =>
    commit(world.services, createRule, session, {
      ref: `vault.${name}`,
      trigger: "vault.ask",
      action: "core.echo",
      actionParams: { message },
    });

  test("without the grant to use the pack's keys, or in another way than a key", async () => {
    await expect(save("denied", "{{ pack.config.token }}")).rejects.toMatchObject(forbidden);
    const granted = { ...editor, grants: [...editor.grants, keyUse] };
    for (const expression of [
      'pack.config.token + ""',
      'pack.config["token"].startsWith("t")',
      "size(pack.config.token)",
    ]) {
      await expect(save("computed", `{{ ${expression} }}`, granted)).rejects.toMatchObject({
        issues: [{ path: "actionParams.message", message: expect.stringContaining("cannot be part of an expression") }],
      });
    }
    const exit = { ref: "vault.exit", trigger: "vault.ask", action: "core.fail" };
    const numeric = commit(world.services, createRule, granted, {
      ...exit,
      actionParams: { exit_code: "{{ pack.config.token }}" },
    });
    await expect(numeric).rejects.toMatchObject({
      issues: [expect.objectContaining({ path: "actionParams.exit_code" })],
    });
  });

  test("in an enforcement, an execution or a message about either, however the rule reaches it", async () => {
    const { services, session } = world;
    await save("plain", "{{ pack.config.region }}: {{ pack.config.token }}", session);
    await save("whole", "of {{ pack.config }}");
    await save("dynamic", '{{ pack.config["to" + "ken"] }}');
    // As an earlier version stored it.
    await save("old", "{{ pack.ref }}");
    const old = JSON.stringify({ message: '{{ "" + pack.config.token }}' });
    await world.all(sql`update attune.rule set action_params = ${old}::text::jsonb where ref = 'vault.old'`);
    const look = createEvaluator(world);
    const event = await world.event("vault.ask");
    await look.evaluate();
    const found = await look.enforced(event);
    expect(found.map(({ rule, config, error }) => [rule, config?.["message"] ?? error?.code])).toEqual([
      ["vault.dynamic", "[secret]"],
      ["vault.old", "PARAMETERS_INVALID"],
      ["vault.plain", "eu: [secret:config.token]"],
      ["vault.whole", 'of {"token":"[secret]","region":"eu"}'],
    ]);
    const [stored] = await world.all<{ encrypted: string }>(
      sql`select s.encrypted from attune.execution_secret s join attune.execution x on x.id = s.execution where x.rule_ref = 'vault.plain'`,
    );
    expect(services.keyring.open(stored?.encrypted ?? "")).toContain(`eu: ${token}`);
    const clear = await world.all(
      sql`select 1 from attune.pack t where t::text like ${`%${token}%`} union all select 1 from attune.enforcement t where t::text like ${`%${token}%`}
        union all select 1 from attune.execution t where t::text like ${`%${token}%`} union all select 1 from attune.notification t where t::text like ${`%${token}%`}
        union all select 1 from attune.rule_evaluation t where t::text like ${`%${token}%`}`,
    );
    expect(clear).toEqual([]);
  });

  test("once the rule's owner has lost the grant, or the setting its value", async () => {
    const { services, session } = world;
    const outcome = async () => {
      const look = createEvaluator(world);
      const event = await world.event("vault.ask");
      await look.evaluate();
      return (await look.enforced(event)).find(({ rule }) => rule === "vault.plain")?.error;
    };
    await world.all(
      sql`with i as (insert into attune.identity (login) values ('former') returning id)
        update attune.rule set owner = i.id from i where ref = 'vault.plain'`,
    );
    expect(await outcome()).toMatchObject({ code: "FORBIDDEN" });
    await world.all(
      sql`update attune.rule set owner = ${String(session.identityId)}::bigint where ref = 'vault.plain'`,
    );
    expect(await outcome()).toBeNull();
    await commit(services, updatePack, session, {
      ref: "vault",
      patch: { config: { region: "eu" } },
      expectedUpdated: null,
    });
    expect(await outcome()).toMatchObject({
      code: "PARAMETERS_INVALID",
      message: expect.stringContaining("config.token"),
    });
  });

  test("nor does a rule keep a secret of its trigger's", async () => {
    const { services, session } = world;
    const paramSchema = { password: { type: "string", secret: true } };
    await commit(services, createTrigger, session, { ref: "vault.watched", paramSchema });
    const rule = {
      ref: "vault.watching",
      trigger: "vault.watched",
      action: "core.noop",
      triggerParams: { password: "hunter22" },
    };
    await expect(commit(services, createRule, session, rule)).rejects.toMatchObject({
      issues: [{ path: "triggerParams.password", message: expect.stringContaining("declared secret") }],
    });
  });
});

test("grants for triggers reach no key, and two triggers share no secret, whatever their names", async () => {
  const { services, session } = world;
  const owner = sessionWith([{ resource: "trigger", actions: ["create", "read", "update", "delete"] }]);
  const long = `default.${"t".repeat(70)}`;
  const [one, two] = [`${long}_one`, `${long}_two`];
  const names = ["webhook-hooked", `webhook-${"t".repeat(55)}`];
  const value = "the pack's own value";
  for (const name of names) {
    const input = { owner: { pack: "default" }, name, value, encrypted: true, expectedUpdated: null };
    await commit(services, setKey, session, input);
  }
  for (const ref of ["default.hooked", one, two]) {
    await commit(services, createTrigger, owner, { ref });
    await commit(services, enableWebhook, owner, { trigger: ref, hmac: { secret: `the secret of ${ref}` } });
  }
  const secretOf = async (ref: string) => {
    const { secret } = await world.one<{ secret: string }>(
      sql`select webhook_secret as secret from attune.trigger where ref = ${ref}`,
    );
    return services.keyring.open(secret);
  };
  expect(await secretOf(one)).toBe(`the secret of ${one}`);
  expect(await secretOf(two)).toBe(`the secret of ${two}`);
  for (const ref of ["default.hooked", one]) await commit(services, deleteTrigger, owner, { ref });
  expect(await secretOf(two)).toBe(`the secret of ${two}`);
  const keys = await world.all<{ value: string }>(
    sql`select value from attune.key where owner = 'default' and name like 'webhook-%'`,
  );
  expect(keys.map((key) => services.keyring.open(key.value))).toEqual([value, value]);
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
