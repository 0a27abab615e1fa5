import { sql } from "drizzle-orm";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { everyGrant, type Grant } from "../../src/access/grants.ts";
import { deleteKey, revealKey, type SetKeyInput, setKey } from "../../src/access/key.ts";
import { requireKeyring, rotateEncryptionKey } from "../../src/access/rotate.ts";
import { openSession, type Session } from "../../src/access/session.ts";
import { createPack } from "../../src/catalog/pack.ts";
import { enableWebhook } from "../../src/catalog/webhook.ts";
import { readConfig } from "../../src/config.ts";
import type { Services } from "../../src/db/services.ts";
import { executeAction } from "../../src/execution/execute.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { createRule, updateRule } from "../../src/rule/rule.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { commit } from "../support/commit.ts";
import { createEvaluator, type Evaluator } from "../support/evaluator.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let look: Evaluator;
/** An identity with its own permission set. */
let someone: { session: Session; id: string };

const notFound = { code: "NOT_FOUND" };
const forbidden = { code: "FORBIDDEN" };
const request = { ip: "127.0.0.1", requestId: "test" };

async function commitIdentity(login: string, grants: readonly Grant[]): Promise<{ session: Session; id: string }> {
  const { id } = await world.one<{ id: string }>(
    sql`with i as (insert into attune.identity (login) values (${login}) returning id),
        s as (insert into attune.permission_set (ref, grants) values (${`default.${login}`}, ${JSON.stringify(grants)}::text::jsonb) returning id),
        a as (insert into attune.permission_assignment (identity, permission_set) select i.id, s.id from i, s)
      select id::text from i`,
  );
  return { id, session: { ...openSession(id), login, grants } };
}

const grantSet = (login: string, grants: readonly Grant[]) =>
  world.all(
    sql`update attune.permission_set set grants = ${JSON.stringify(grants)}::text::jsonb where ref = ${`default.${login}`}`,
  );

const set = (
  input: Partial<SetKeyInput> & Pick<SetKeyInput, "name">,
  session = world.session,
  services: Services = world.services,
) =>
  commit(services, setKey, session, {
    owner: { system: true },
    value: "a secret value",
    encrypted: true,
    expectedUpdated: null,
    ...input,
  });
const reveal = async (ref: string, session = world.session, services: Services = world.services) =>
  (await commit(services, revealKey, session, { ref, request })).value;
const stored = (ref: string) =>
  world.one<{ value: string; hash: string | null; updated: string }>(
    sql`select value, encryption_key_hash as hash, to_jsonb(updated) #>> '{}' as updated from attune.key where ref = ${ref}`,
  );

beforeAll(async () => {
  world = await createWorld();
  look = createEvaluator(world);
  someone = await commitIdentity("someone", []);
  await world.action({
    ref: "default.login",
    is_adhoc: false,
    param_schema: {
      password: { type: "string", secret: true },
      user: { type: "string", takes_secrets: true },
      auth: { type: "object", properties: { tokens: { type: "array", items: { type: "string", secret: true } } } },
    },
  });
});
afterAll(() => world[Symbol.asyncDispose]());
beforeEach(() => look.evaluate());

describe("a key", () => {
  test("is created and changed by the same verb, is stored encrypted, and keeps its id", async () => {
    const { id } = await set({ name: "token", value: "first value" });
    const first = await stored("system.token");
    expect(first.value).toMatch(/^v1:[0-9a-f]{16}:/);
    expect(first.value).not.toContain("first");
    expect(await set({ name: "token", value: "second value" })).toEqual({ id });
    expect(await reveal("system.token")).toBe("second value");
    const stale = set({ name: "token", expectedUpdated: new Date(first.updated) });
    await expect(stale).rejects.toMatchObject({ code: "CONFLICT" });
    const { updated } = await stored("system.token");
    await set({ name: "token", value: "third value", expectedUpdated: new Date(updated) });
    expect(await reveal("system.token")).toBe("third value");
    await set({ name: "token", value: "plain", encrypted: false });
    expect(await stored("system.token")).toMatchObject({ value: "plain", hash: null });
    expect(await reveal("system.token")).toBe("plain");
    await expect(set({ name: "not_there", expectedUpdated: new Date() })).rejects.toMatchObject(notFound);
  });

  test("has a ref that starts with its owner", async () => {
    await set({ name: "k", owner: { pack: "core" } });
    await set({ name: "k", owner: { action: "core.echo" } });
    await set({ name: "k", owner: { identity: "admin" } });
    const refs = await world.all<{ ref: string }>(sql`select ref from attune.key where name = 'k' order by ref`);
    expect(refs.map(({ ref }) => ref)).toEqual(["action.core.echo.k", "identity.admin.k", "pack.core.k"]);
    for (const owner of [{ pack: "gone" }, { action: "core.gone" }, { identity: "gone" }, { sensor: "core.gone" }]) {
      await expect(set({ name: "k", owner })).rejects.toMatchObject(notFound);
    }
  });

  test.each<[string, Partial<SetKeyInput> & { name: string }, string]>([
    ["a name in upper case", { name: "Token" }, "name"],
    ["a name too long", { name: "a".repeat(64) }, "name"],
    ["an empty value", { name: "a", value: "" }, "value"],
    ["a NUL", { name: "a", value: "with\u0000nul" }, "value"],
    ["a value above 16 KiB", { name: "a", value: "x".repeat(17_000) }, "value"],
    ["no owner", { name: "a", owner: {} }, "owner"],
    ["two owners", { name: "a", owner: { system: true, pack: "core" } }, "owner"],
    ["not the system", { name: "a", owner: { system: false } }, "owner"],
  ])("is refused with %s", async (_name, input, path) => {
    await expect(set(input)).rejects.toMatchObject({ issues: [expect.objectContaining({ path })] });
  });

  test("is revealed with an entry in the audit trail, and deleted once", async () => {
    await set({ name: "shown", value: "to be shown" });
    expect(await reveal("system.shown")).toBe("to be shown");
    const entries = await world.all(
      sql`select category, outcome, actor_login as login, details from attune.audit_event where resource_ref = 'system.shown'`,
    );
    expect(entries).toEqual([{ category: "reveal", outcome: "success", login: "admin", details: null }]);
    await commit(world.services, deleteKey, world.session, { ref: "system.shown" });
    await expect(commit(world.services, deleteKey, world.session, { ref: "system.shown" })).rejects.toMatchObject(
      notFound,
    );
    await expect(reveal("system.shown")).rejects.toMatchObject(notFound);
  });

  test("requires a grant, except for one's own keys; a narrowed token has only its own grants", async () => {
    const { session } = someone;
    await set({ name: "foreign", value: "of the system" });
    await set({ name: "foreign", value: "of the pack", owner: { pack: "core" } });
    await expect(set({ name: "mine" }, session)).rejects.toMatchObject(forbidden);
    await expect(set({ name: "foreign" }, session)).rejects.toMatchObject(forbidden);
    await expect(reveal("system.foreign", session)).rejects.toMatchObject(notFound);
    const reader = { ...session, grants: [{ resource: "key", actions: ["read"] }] };
    await expect(reveal("system.foreign", reader)).rejects.toMatchObject(forbidden);
    await expect(commit(world.services, deleteKey, reader, { ref: "system.foreign" })).rejects.toMatchObject(forbidden);
    const ofPack = {
      ...session,
      grants: [{ resource: "key", actions: ["reveal"], constraints: { pack_refs: ["core"] } }],
    };
    expect(await reveal("pack.core.foreign", ofPack)).toBe("of the pack");
    await expect(reveal("system.foreign", ofPack)).rejects.toMatchObject(notFound);
    await set({ name: "mine", value: "my own value", owner: { identity: "someone" } }, session);
    await set({ name: "mine", value: "another of mine", owner: { identity: "someone" } }, session);
    expect(await reveal("identity.someone.mine", session)).toBe("another of mine");
    const token = { ...session, narrowed: true };
    await expect(reveal("identity.someone.mine", token)).rejects.toMatchObject(notFound);
    const other = { ...session, identityId: 999_999n };
    await expect(reveal("identity.someone.mine", other)).rejects.toMatchObject(notFound);
    await commit(world.services, deleteKey, session, { ref: "identity.someone.mine" });
  });
});

describe("the keyring", () => {
  const [a, b] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];

  test("opens texts sealed by older keys, and none that was modified", () => {
    const old = createKeyring(a).seal("the text");
    expect(createKeyring(b, [a]).open(old)).toBe("the text");
    expect(() => createKeyring(b).open(old)).toThrow(/encrypted with the key [0-9a-f]{16}; this process has/);
    const [version, id, nonce, tag = "", text] = old.split(":");
    const short = Buffer.from(tag, "base64").subarray(0, 4).toString("base64");
    expect(() => createKeyring(a).open([version, id, nonce, short, text].join(":"))).toThrow();
    expect(() => createKeyring(a).open([version, id, nonce, tag, "AAAA"].join(":"))).toThrow();
    expect(createKeyring(a).seal("the text")).not.toBe(old);
  });

  test("takes its older keys from a setting, which is then removed from the environment", () => {
    const name = "ATTUNE__SECURITY__PREVIOUS_ENCRYPTION_KEYS";
    const env: NodeJS.ProcessEnv = { [name]: ` ${"0a".repeat(32)},${"0b".repeat(32)}` };
    expect(readConfig(env, false).previousKeys).toEqual([Buffer.alloc(32, 0x0a), Buffer.alloc(32, 0x0b)]);
    expect(env).not.toHaveProperty(name);
    expect(() => readConfig({ [name]: "0a0b" }, false)).toThrow(
      /^ATTUNE__SECURITY__PREVIOUS_ENCRYPTION_KEYS is wrong: must be keys of 64 hexadecimal digits/,
    );
  });

  test("rotation encrypts everything again and may be interrupted; a missing key is reported at the start", async () => {
    const { services, session } = world;
    const withKey = (keyring: Services["keyring"]): Services => ({ ...services, keyring });
    const before = withKey(createKeyring(Buffer.alloc(32, 0x42)));
    for (let index = 0; index < 250; index += 1) {
      await set({ name: `rotated${index}`, value: `the value ${index}` }, session, before);
    }
    const parameters = { password: "the old password" };
    const { id } = await commit(before, executeAction, session, {
      action: "default.login",
      parameters,
      timeoutSeconds: null,
      priority: null,
    });
    const settings = { confSchema: { token: { type: "string", secret: true } }, config: { token: "the old setting" } };
    await commit(services, createPack, session, { ref: "rotated", ...settings });
    const hook = await world.trigger();
    await commit(services, enableWebhook, session, {
      trigger: hook,
      hmac: { secret: "the old secret" },
      verifyToken: "the old token",
    });
    await expect(requireKeyring(services.db, createKeyring(b))).rejects.toThrow(
      /^Stored secrets were encrypted with the key [0-9a-f]{16}, which this process does not have: set ATTUNE__SECURITY__ENCRYPTION_KEY/,
    );
    const ring = createKeyring(b, [Buffer.alloc(32, 0x42)]);
    await requireKeyring(services.db, ring);

    let sealed = 0;
    const dying = withKey({
      ...ring,
      seal: (text) => {
        sealed += 1;
        if (sealed > 210) throw new Error("killed");
        return ring.seal(text);
      },
    });
    await expect(rotateEncryptionKey(dying, session)).rejects.toThrow("killed");
    const left = () =>
      world.one<{ keys: number }>(
        sql`select count(*)::int as keys from attune.key where encryption_key_hash <> ${ring.id}`,
      );
    const afterKill = (await left()).keys;
    expect(afterKill).toBeGreaterThan(0);
    expect(afterKill).toBeLessThan(250);
    expect(await reveal("system.rotated0", session, withKey(ring))).toBe("the value 0");
    expect(await reveal("system.rotated249", session, withKey(ring))).toBe("the value 249");

    const rotated = await rotateEncryptionKey(withKey(ring), session);
    expect(rotated).toMatchObject({ keys: afterKill, settings: 3, complete: true });
    const { token } = await world.one<{ token: string }>(
      sql`select secrets ->> '/token' as token from attune.pack where ref = 'rotated'`,
    );
    expect(createKeyring(b).open(token)).toBe("the old setting");
    const { signed, verified } = await world.one<{ signed: string; verified: string }>(
      sql`select webhook_secret as signed, webhook_verify_token as verified from attune.trigger where ref = ${hook}`,
    );
    expect(createKeyring(b).open(verified)).toBe("the old token");
    expect(createKeyring(b).open(signed)).toBe("the old secret");
    expect(rotated.secrets).toBeGreaterThan(0);
    expect(await left()).toEqual({ keys: 0 });
    await requireKeyring(services.db, createKeyring(b));
    expect(await reveal("system.rotated249", session, withKey(createKeyring(b)))).toBe("the value 249");
    const secret = await world.one<{ encrypted: string }>(
      sql`select encrypted from attune.execution_secret where execution = ${String(id)}::bigint`,
    );
    expect(createKeyring(b).open(secret.encrypted)).toContain("the old password");
    expect(await rotateEncryptionKey(withKey(ring), session)).toEqual({
      keys: 0,
      secrets: 0,
      settings: 0,
      complete: true,
    });
    await expect(rotateEncryptionKey(withKey(ring), someone.session)).rejects.toMatchObject(forbidden);
    // Restores the key for the tests that follow.
    await rotateEncryptionKey(withKey(createKeyring(Buffer.alloc(32, 0x42), [b])), session);
  });
});

describe("parameters", () => {
  const run = (parameters: JsonObject) =>
    commit(world.services, executeAction, world.session, {
      action: "default.login",
      parameters,
      timeoutSeconds: null,
      priority: null,
    });
  const secretsOf = (execution: string) =>
    world.all<{ path: string; source: string }>(
      sql`select path, source from attune.execution_secret where execution = ${execution}::bigint order by path`,
    );

  test("that are declared secret are stored separately from the others", async () => {
    const { id } = await run({
      password: "correct horse",
      user: "me",
      auth: { tokens: ["first token", "other token"] },
    });
    const { config } = await world.execution(String(id));
    expect(config).toEqual({
      password: "[secret:password]",
      user: "me",
      auth: { tokens: ["[secret:auth.tokens.0]", "[secret:auth.tokens.1]"] },
    });
    expect(await secretsOf(String(id))).toEqual([
      { path: "/auth/tokens/0", source: "parameter:auth.tokens.0" },
      { path: "/auth/tokens/1", source: "parameter:auth.tokens.1" },
      { path: "/password", source: "parameter:password" },
    ]);
    await expect(run({ password: "short" })).rejects.toMatchObject({
      issues: [{ path: "parameters.password", message: expect.stringMatching(/6 characters/) }],
    });
  });

  test("that a running execution passes on stay secret", async () => {
    const { id } = await run({ password: "correct horse" });
    await world.all(
      sql`with w as (insert into attune.worker (name, worker_type) values ('w', 'local') returning id)
        update attune.execution e set status = 'running', worker = w.id, started_at = now() from w where e.id = ${String(id)}::bigint`,
    );
    const token: Session = { ...world.session, kind: "execution", executionId: id };
    const parameters = { message: "it is correct horse!" };
    const child = await commit(world.services, executeAction, token, {
      action: "core.echo",
      parameters,
      timeoutSeconds: null,
      priority: null,
    });
    expect((await world.execution(String(child.id))).config).toEqual({ message: "it is [secret:password]!" });
    expect(await secretsOf(String(child.id))).toEqual([{ path: "/message", source: "key:password" }]);
  });

  test("of a rule accept a key, not a secret value", async () => {
    const trigger = await world.trigger();
    const literal = world.rule(trigger, { action: "default.login", actionParams: { password: "correct horse" } });
    await expect(literal).rejects.toMatchObject({
      issues: [expect.objectContaining({ path: "actionParams.password" })],
    });
    const computed = world.rule(trigger, {
      action: "core.echo",
      actionParams: { message: "{{ key(event.payload.which) }}" },
    });
    await expect(computed).rejects.toMatchObject({
      issues: [
        {
          path: "actionParams.message",
          message: expect.stringContaining("key() cannot be part of an expression"),
        },
      ],
    });
  });

  test("that contain keys are shown masked, in the execution and in the enforcement", async () => {
    await set({ name: "pass", value: "correct horse" });
    await set({ name: "user", value: "battery" });
    const trigger = await world.trigger();
    await world.rule(trigger, {
      action: "default.login",
      actionParams: {
        password: '{{ key("system.pass") }}',
        user: '{{ event.payload.who }} as {{ key("system.user") }}/{{ key("system.pass") }}!',
        auth: {
          tokens: ['x{{ key("system.pass") }}', '{{ event.payload.n > 1 ? "long enough" : "no secret" }}'],
        },
      },
    });
    const event = await world.event(trigger, { who: "I", n: 1 });
    await look.evaluate();
    const [found] = await look.enforced(event);
    const shown = {
      password: "[secret:system.pass]",
      user: "I as [secret:system.user]/[secret:system.pass]!",
      auth: { tokens: ["[secret:auth.tokens.0]", "[secret:auth.tokens.1]"] },
    };
    expect(found).toMatchObject({ error: null, config: shown, executionConfig: shown });
    expect(await secretsOf(found?.execution ?? "")).toEqual([
      { path: "/auth/tokens/0", source: "parameter:auth.tokens.0" },
      { path: "/auth/tokens/1", source: "parameter:auth.tokens.1" },
      { path: "/password", source: "key:system.pass" },
      { path: "/user", source: "key:system.user, key:system.pass" },
    ]);
  });
});

describe("a rule", () => {
  const use = (refs: string[]): Grant => ({ resource: "key", actions: ["use"], constraints: { refs } });
  const reach: Grant[] = [
    { resource: "rule", actions: ["*"] },
    { resource: "trigger", actions: ["read"] },
    { resource: "action", actions: ["execute"] },
  ];
  const actionParams = { message: '{{ key("system.shared") }}' };

  test("may name only keys that the user who saves it may use", async () => {
    await set({ name: "shared", value: "the shared value" });
    const trigger = await world.trigger();
    const save = (grants: Grant[], params: JsonObject = actionParams) =>
      commit(
        world.services,
        createRule,
        { ...someone.session, grants },
        { ref: "default.keyed", trigger, action: "core.echo", actionParams: params },
      );
    await expect(save(reach)).rejects.toMatchObject(notFound);
    await expect(save([...reach, { resource: "*", actions: ["read"] }])).rejects.toMatchObject(forbidden);
    await expect(save([...reach, use(["system.other"])])).rejects.toMatchObject(notFound);
    await expect(save([...everyGrant], { message: '{{ key("system.gone") }}' })).rejects.toMatchObject(notFound);
    await save([...reach, use(["system.shared"])]);
    // The user who changes a rule becomes its owner.
    const change = commit(
      world.services,
      updateRule,
      { ...someone.session, grants: reach },
      { ref: "default.keyed", expectedUpdated: null, patch: { label: "Mine" } },
    );
    await expect(change).rejects.toMatchObject(notFound);
  });

  test("runs with its owner's current grants for action and keys, and not at all once the owner is deleted", async () => {
    await set({ name: "shared", value: "the shared value" });
    const owner = await commitIdentity("owner", [...reach, use(["system.shared"])]);
    const trigger = await world.trigger();
    await commit(world.services, createRule, owner.session, {
      ref: "default.owned",
      trigger,
      action: "core.echo",
      actionParams,
    });
    const outcome = async () => {
      const event = await world.event(trigger);
      await look.evaluate();
      const [found] = await look.enforced(event);
      return found?.error?.code ?? found?.executionStatus;
    };
    const becomes = (expected: string) =>
      until(async () => (await outcome()) === expected, `the rule's outcome ${expected}`);
    expect(await outcome()).toBe("scheduled");
    await grantSet("owner", reach);
    await becomes("FORBIDDEN");
    await grantSet("owner", [use(["system.shared"])]);
    await becomes("FORBIDDEN");
    await grantSet("owner", [...reach, use(["system.shared"])]);
    await becomes("scheduled");
    await world.all(sql`update attune.identity set frozen = true where id = ${owner.id}::bigint`);
    await becomes("FORBIDDEN");
    await world.all(sql`update attune.identity set frozen = false where id = ${owner.id}::bigint`);
    await becomes("scheduled");
    await world.all(sql`delete from attune.identity where id = ${owner.id}::bigint`);
    await becomes("FORBIDDEN");
    const [last] = await world.all<{ executions: number; error: { message: string } }>(
      sql`select (select count(*)::int from attune.execution x where x.enforcement = f.id) as executions, f.error
        from attune.enforcement f where f.rule_ref = 'default.owned' order by f.id desc limit 1`,
    );
    expect(last).toEqual({
      executions: 0,
      error: { code: "FORBIDDEN", message: expect.stringContaining("no longer exists") },
    });
  });

  test("of a pack may use its pack's keys and the system's, and no others", async () => {
    await set({ name: "of_pack", owner: { pack: "default" } });
    await set({ name: "of_other", owner: { pack: "core" } });
    const trigger = await world.trigger();
    const packRule = async (key: string) => {
      const ref = await world.rule(trigger, { action: "core.echo", actionParams: { message: `{{ key("${key}") }}` } });
      await world.all(sql`update attune.rule set owner = null, is_adhoc = false where ref = ${ref}`);
      return ref;
    };
    const [own, system, other] = [
      await packRule("pack.default.of_pack"),
      await packRule("system.shared"),
      await packRule("pack.core.of_other"),
    ];
    const event = await world.event(trigger);
    await look.evaluate();
    const found = new Map((await look.enforced(event)).map(({ rule, error }) => [rule, error?.code ?? null]));
    expect(found).toEqual(
      new Map([
        [own, null],
        [system, null],
        [other, "FORBIDDEN"],
      ]),
    );
  });

  test("whose key is too short to be masked, or deleted, fails without showing the value", async () => {
    await set({ name: "number", value: "48151" });
    const trigger = await world.trigger();
    await world.rule(trigger, { action: "core.echo", actionParams: { message: 'of {{ key("system.number") }}' } });
    const event = await world.event(trigger);
    await look.evaluate();
    const [found] = await look.enforced(event);
    expect(found?.error).toMatchObject({
      code: "PARAMETERS_INVALID",
      message: expect.stringContaining("fewer than 6 characters"),
    });
    expect(JSON.stringify(found)).not.toContain("48151");
    await commit(world.services, deleteKey, world.session, { ref: "system.number" });
    const next = await world.event(trigger);
    await look.evaluate();
    expect((await look.enforced(next))[0]?.error).toMatchObject({
      code: "PARAMETERS_INVALID",
      message: expect.stringContaining('There is no key "system.number"'),
    });
  });

  test("reads its owners' grants once a second, however many events and owners there are", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger);
    await world.event(trigger);
    await look.evaluate();
    const { statements } = world.services;
    const from = statements.length;
    const started = performance.now();
    for (let round = 0; round < 10; round += 1) {
      await world.event(trigger);
      await look.evaluate();
    }
    const seconds = Math.ceil((performance.now() - started) / 1000);
    const reads = statements.slice(from).filter((text) => text.includes("attune.permission_assignment"));
    expect(reads.length).toBeLessThanOrEqual(seconds);
  });
});
