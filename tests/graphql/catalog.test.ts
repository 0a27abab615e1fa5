import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../src/access/session.ts";
import { type Api, createApi } from "../support/api.ts";
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

const refusals =
  "... on Error { __typename code message } ... on InvalidInputError { issues { path message } } ... on NotFoundError { kind ref }";
const upper = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);

/** Runs one mutation and returns its result. */
async function mutate(name: string, input: object, payload: string, session: Session = world.session) {
  const document = `mutation($input: ${upper(name)}Input!) { result: ${name}(input: $input) {
    ... on ${upper(name)}Payload { ${payload} } ${refusals} } }`;
  const { data, errors } = await api.ask(session, document, { input });
  expect(errors).toBeUndefined();
  return data.result;
}
async function ask(query: string, session: Session = world.session) {
  const { data, errors } = await api.ask(session, query);
  expect(errors).toBeUndefined();
  return data;
}

/** Each kind's input for creation, a change, its list, and whether it can be enabled and disabled. */
const kinds = [
  { kind: "Pack", list: "packs", ref: "shaped", create: { label: "S" }, patch: { description: "D" }, switched: false },
  {
    kind: "Runtime",
    list: "runtimes",
    ref: "shaped.sensor.any",
    create: { name: "Any" },
    patch: { description: "D" },
    switched: false,
  },
  {
    kind: "Action",
    list: "actions",
    ref: "shaped.action",
    create: { runtime: "core.action.builtin", entrypoint: "core.noop", outputFormat: "JSON" },
    patch: { description: "D", timeoutSeconds: 7 },
    switched: true,
  },
  {
    kind: "Sensor",
    list: "sensors",
    ref: "shaped.sensor",
    create: { runtime: "shaped.sensor.any", entrypoint: "s.py" },
    patch: { description: "D" },
    switched: true,
  },
  {
    kind: "Trigger",
    list: "triggers",
    ref: "shaped.trigger",
    create: { sensor: "shaped.sensor" },
    patch: { description: "D" },
    switched: true,
  },
  {
    kind: "Policy",
    list: "policies",
    ref: "shaped.policy",
    create: { method: "ENQUEUE", threshold: 2, pack: "shaped" },
    patch: { description: "D", rateMax: 1, rateWindowSeconds: 9 },
    switched: true,
  },
  {
    kind: "WorkflowDefinition",
    list: "workflowDefinitions",
    ref: "shaped.workflow",
    create: { definition: { tasks: [{ name: "a", action: "core.noop" }] } },
    patch: { description: "D" },
    switched: false,
  },
] as const;
const lower = (name: string) => name.charAt(0).toLowerCase() + name.slice(1);

describe("entities of the catalog", () => {
  test.each(kinds)("$kind is created once, updated, enabled and disabled, listed and found", async (entity) => {
    const { kind, list, ref, create, patch } = entity;
    const field = lower(kind);
    const fields = `${field} { id ref description updated }`;
    const input = { ref, ...create, idempotencyKey: `create ${kind}`.replace(" ", "-") };
    const created = (await mutate(`create${kind}`, input, fields))[field];
    expect((await mutate(`create${kind}`, input, fields))[field]).toEqual(created);
    expect(await mutate(`create${kind}`, { ref, ...create }, fields)).toMatchObject({ __typename: "ConflictError" });

    const unchanged = await mutate(`update${kind}`, { ref }, fields);
    expect(unchanged[field]).toEqual(created);
    const changed = (await mutate(`update${kind}`, { ref, ...patch, expectedUpdated: created.updated }, fields))[field];
    expect(changed).toMatchObject({ id: created.id, description: "D" });
    const late = await mutate(`update${kind}`, { ref, ...patch, expectedUpdated: created.updated }, fields);
    expect(late).toMatchObject({ __typename: "ConflictError", code: "CONFLICT" });
    const missing = await mutate(`update${kind}`, { ref: `${ref}x` }, fields);
    expect(missing).toMatchObject({ __typename: "NotFoundError", ref: `${ref}x` });

    if (entity.switched) {
      const off = await mutate(`disable${kind}`, { ref }, `${field} { enabled }`);
      expect(off[field]).toEqual({ enabled: false });
      const on = await mutate(`enable${kind}`, { ref }, `${field} { enabled }`);
      expect(on[field]).toEqual({ enabled: true });
    }
    const found = await ask(`{ one: ${field}(id: "${created.id}") { ref } byRef: ${field}ByRef(ref: "${ref}") { id }
      many: ${list}(where: {ref: {eq: "${ref}"}, description: {contains: "d"}, text: {contains: "SHAPED"}}, orderBy: {field: UPDATED, direction: DESC}) {
        totalCount { count } nodes { ref } } node(id: "${created.id}") { __typename } }`);
    expect(found).toEqual({
      one: { ref },
      byRef: { id: created.id },
      many: { totalCount: { count: 1 }, nodes: [{ ref }] },
      node: { __typename: kind },
    });
  });

  test("lead to related entities, both ways", async () => {
    const pack =
      await ask(`{ packByRef(ref: "shaped") { sensors { nodes { ref runtime { ref } triggers { nodes { ref } } } }
      policies { nodes { ref threshold method pack { ref } action { ref } } } workflows { nodes { ref actions { totalCount { count } } } }
      runtimes { nodes { sensors { nodes { ref } } actions { totalCount { count } } workers { totalCount { count } } } }
      triggers { nodes { sensor { ref events { totalCount { count } } } } } permissionSets { totalCount { count } }
      actions { nodes { workflow { ref } policies { totalCount { count } } pack { ref } } } } }`);
    expect(pack.packByRef).toMatchObject({
      sensors: { nodes: [{ runtime: { ref: "shaped.sensor.any" }, triggers: { nodes: [{ ref: "shaped.trigger" }] } }] },
      policies: { nodes: [{ threshold: 2, method: "ENQUEUE", pack: { ref: "shaped" }, action: null }] },
      workflows: { nodes: [{ ref: "shaped.workflow", actions: { totalCount: { count: 0 } } }] },
      runtimes: { nodes: [{ sensors: { nodes: [{ ref: "shaped.sensor" }] } }] },
      triggers: { nodes: [{ sensor: { ref: "shaped.sensor" } }] },
      permissionSets: { totalCount: { count: 0 } },
      actions: { nodes: [{ workflow: null, policies: { totalCount: { count: 0 } }, pack: { ref: "shaped" } }] },
    });
  });

  test("report every fault of an input at once", async () => {
    const faulty = {
      ref: "shaped.bad",
      ...kinds[2].create,
      timeoutSeconds: -1,
      paramSchema: { message: { type: "txt" } },
    };
    expect(await mutate("createAction", faulty, "action { ref }")).toMatchObject({
      __typename: "InvalidInputError",
      issues: expect.arrayContaining([
        expect.objectContaining({ path: "paramSchema.message.type" }),
        expect.objectContaining({ path: "timeoutSeconds" }),
      ]),
    });
  });

  test.each([...kinds].reverse())("$kind is deleted, once", async ({ kind, ref }) => {
    const field = lower(kind);
    expect((await mutate(`delete${kind}`, { ref }, `${field} { id ref }`))[field]).toMatchObject({ ref });
    expect(await mutate(`delete${kind}`, { ref }, `${field} { id ref }`)).toMatchObject({
      __typename: "NotFoundError",
    });
    expect(await ask(`{ ${field}ByRef(ref: "${ref}") { id } }`)).toEqual({ [`${field}ByRef`]: null });
  });
});

test("a webhook's path is shown only to sessions that may update its trigger", async () => {
  await mutate("createTrigger", { ref: "default.hook" }, "trigger { ref }");
  const enabled = await mutate("enableWebhook", { trigger: "default.hook" }, "path trigger { webhookPath }");
  expect(enabled).toEqual({
    path: expect.stringMatching(/^\/webhooks\/.{43}$/),
    trigger: { webhookPath: enabled.path },
  });
  const read = `{ triggerByRef(ref: "default.hook") { webhookPath webhookEnabled } }`;
  const reader = { ...world.session, grants: [{ resource: "*", actions: ["read"] }] };
  expect(await ask(read, reader)).toEqual({ triggerByRef: { webhookPath: null, webhookEnabled: true } });
  const rotated = await mutate("rotateWebhookKey", { trigger: "default.hook" }, "path");
  expect(rotated.path).not.toBe(enabled.path);
  expect((await ask(read)).triggerByRef.webhookPath).toBe(rotated.path);
  const off = await mutate("disableWebhook", { trigger: "default.hook" }, "trigger { webhookEnabled webhookPath }");
  expect(off.trigger).toEqual({ webhookEnabled: false, webhookPath: null });
});

test("how a webhook is configured can be read without its secrets, by those who may read its trigger", async () => {
  await mutate("createTrigger", { ref: "default.shown" }, "trigger { ref }");
  const hmac = "hmac { scheme algorithm encoding header prefix timestampHeader signedText toleranceSeconds }";
  const fields = `webhook { ${hmac} deliveryHeader maxBytes rateLimit { requests seconds } allow cloudEvents hasVerifyToken previousPathUntil previousSecretUntil }`;
  const reader = { ...world.session, grants: [{ resource: "trigger", actions: ["read"] }] };
  const read = async () =>
    (await ask(`{ triggerByRef(ref: "default.shown") { ${fields} } }`, reader)).triggerByRef.webhook;
  expect(await read()).toBeNull();
  const secret = `whsec_${Buffer.from("what nothing shows").toString("base64")}`;
  const input = {
    trigger: "default.shown",
    hmac: { secret, scheme: "STANDARD_WEBHOOKS" },
    verifyToken: "what nothing shows",
  };
  await mutate("enableWebhook", input, `trigger { ${fields} }`);
  const standard = {
    ...{ hmac: { scheme: "STANDARD_WEBHOOKS", algorithm: "SHA256", encoding: "BASE64", header: "webhook-signature" } },
    ...{ deliveryHeader: "webhook-id", maxBytes: 1048576, rateLimit: null, allow: null, cloudEvents: false },
    ...{ hasVerifyToken: true, previousPathUntil: null, previousSecretUntil: null },
  };
  const signed = {
    prefix: "v1,",
    timestampHeader: "webhook-timestamp",
    signedText: "{id}.{timestamp}.{body}",
    toleranceSeconds: 300,
  };
  expect(await read()).toEqual({ ...standard, hmac: { ...standard.hmac, ...signed } });
  const limits = { allow: ["192.0.2.0/24"], rateLimit: { requests: 5, seconds: 60 }, maxBytes: 99, cloudEvents: true };
  await mutate("enableWebhook", { ...input, ...limits, verifyToken: null, secretOverlapSeconds: 60 }, "__typename");
  await mutate("rotateWebhookKey", { trigger: "default.shown", overlapSeconds: 60 }, "__typename");
  await mutate("disableWebhook", { trigger: "default.shown" }, "__typename");
  const until = expect.stringMatching(/^\d{4}-/);
  expect(await read()).toMatchObject({
    ...limits,
    hasVerifyToken: false,
    previousPathUntil: until,
    previousSecretUntil: until,
  });
  await mutate(
    "enableWebhook",
    { trigger: "default.shown", hmac: { secret: "a token", scheme: "TOKEN" } },
    "__typename",
  );
  const token = { scheme: "TOKEN", header: "authorization", prefix: "Bearer ", algorithm: null, encoding: null };
  const unsigned = { timestampHeader: null, signedText: null, toleranceSeconds: null };
  expect(await read()).toMatchObject({ ...limits, hmac: { ...token, ...unsigned }, deliveryHeader: null });
});

test("secret settings are never shown", async () => {
  const confSchema = { token: { type: "string", secret: true }, region: { type: "string" } };
  const config = { token: "hunter22", region: "eu" };
  const created = await mutate("createPack", { ref: "secretive", confSchema, config }, "pack { config }");
  expect(created.pack.config).toEqual({ token: "[secret]", region: "eu" });
  const sensor = { ref: "secretive.eye", runtime: "core.sensor.shell", entrypoint: "eye.sh", paramSchema: confSchema };
  const eye = await mutate("createSensor", { ...sensor, config }, "sensor { config }");
  expect(eye.sensor.config).toEqual({ token: "[secret]", region: "eu" });
  const trail = await world.all(sql`select details from attune.audit_event where details::text like '%hunter22%'`);
  expect(trail).toEqual([]);
});

test("workers are found by the age of their heartbeat, cordoned and removed", async () => {
  await world.all(sql`insert into attune.worker (name, worker_type, status, last_heartbeat) values
    ('fresh', 'local', 'active', now()), ('stale', 'local', 'error', now() - interval '5 minutes'), ('never', 'remote', null, null)`);
  const list = (where: string) => ask(`{ workers(where: ${where}) { nodes { id name } } }`);
  const stale = (await list("{heartbeatAgeSeconds: {gt: 60}}")).workers.nodes;
  expect(stale).toMatchObject([{ name: "stale" }]);
  expect((await list("{heartbeatAgeSeconds: {isNull: true}}")).workers.nodes).toMatchObject([{ name: "never" }]);
  const cordoned = await mutate(
    "cordonWorker",
    { id: stale[0].id },
    "worker { name cordoned executions { totalCount { count } } }",
  );
  expect(cordoned.worker).toEqual({ name: "stale", cordoned: true, executions: { totalCount: { count: 0 } } });
  expect((await list("{cordoned: {eq: true}, status: {eq: ERROR}}")).workers.nodes).toHaveLength(1);
  const again = await mutate("uncordonWorker", { id: stale[0].id }, "worker { cordoned }");
  expect(again.worker).toEqual({ cordoned: false });
  expect((await mutate("deleteWorker", { id: stale[0].id }, "worker { id }")).worker).toEqual({ id: stale[0].id });
  expect(await mutate("deleteWorker", { id: stale[0].id }, "worker { id }")).toMatchObject({ kind: "worker" });
});

test("events, enforcements and executions are updated and deleted by id", async () => {
  await mutate("createTrigger", { ref: "default.past" }, "trigger { ref }");
  const created = await mutate(
    "createEvent",
    { trigger: "default.past", payload: { a: 1 } },
    "event { id source { ref } }",
  );
  const { id } = created.event;
  const changed = await mutate("updateEvent", { id, payload: { a: 2 } }, "event { payload }");
  expect(changed.event).toEqual({ payload: { a: 2 } });
  expect((await mutate("deleteEvent", { id }, "event { id }")).event).toEqual({ id });
  expect(await mutate("deleteEvent", { id }, "event { id }")).toMatchObject({
    __typename: "NotFoundError",
    kind: "event",
  });
  const run = await mutate("executeAction", { action: "core.noop" }, "execution { id }");
  const waiting = await mutate("deleteExecution", { id: run.execution.id }, "execution { id }");
  expect(waiting).toMatchObject({ __typename: "ConflictError" });
  await mutate("cancelExecution", { id: run.execution.id }, "execution { id }");
  const deleted = await mutate("deleteExecution", { id: run.execution.id }, "execution { id }");
  expect(deleted.execution).toEqual(run.execution);
  const gone = await mutate("deleteEnforcement", { id: btoa("Enforcement:1") }, "enforcement { id }");
  expect(gone).toMatchObject({ __typename: "NotFoundError", kind: "enforcement" });
});

describe("the catalog is searched:", () => {
  beforeAll(async () => {
    const { build } = world;
    for (const [ref, label, tags, version] of [
      ["search_mail", "Electronic Mail", ["SMTP", "letters"], "1.0.0"],
      ["search_chat", "Chat", ["messages"], "2.0.0"],
    ] as const) {
      const pack = await build("pack", { ref, label, tags: [...tags], version });
      for (const [name, runtime, enabled] of [
        ["send", "shell", true],
        ["read", "python", false],
      ] as const) {
        await build(
          "action",
          { ref: `${ref}.${name}`, pack: pack.id, pack_ref: ref, label: `${name} it`, enabled, is_adhoc: true },
          { runtime: `(select id from attune.runtime where ref = 'core.action.${runtime}')` },
        );
      }
    }
  });
  const found = (fields: string) => `found: ${fields} { totalCount { count } nodes { ref } }`;
  const all = ["search_chat.read", "search_chat.send", "search_mail.read", "search_mail.send"];

  test.each<[string, string, string[]]>([
    [
      "packs by a word of the label, in whatever case",
      'packs(where: {text: {contains: "ELECTRONIC"}})',
      ["search_mail"],
    ],
    ["packs by a keyword", 'packs(where: {text: {contains: "smtp"}})', ["search_mail"]],
    ["packs by a tag", 'packs(where: {tags: {eq: "messages"}})', ["search_chat"]],
    ["packs by a part of the ref", 'packs(where: {text: {contains: "SEARCH_"}})', ["search_chat", "search_mail"]],
    ["actions of packs, of the same name in both", 'actions(where: {ref: {startsWith: "search_"}})', all],
    [
      "enabled actions",
      'actions(where: {ref: {startsWith: "search_"}, enabled: {eq: true}})',
      [all[1] ?? "", all[3] ?? ""],
    ],
    [
      "actions by a word",
      'actions(where: {ref: {startsWith: "search_"}, text: {contains: "READ IT"}})',
      [all[0] ?? "", all[2] ?? ""],
    ],
  ])("%s", async (_what, fields, refs) => {
    const { found: result } = await ask(`{ ${found(fields)} }`);
    expect(result.nodes.map(({ ref }: { ref: string }) => ref).sort()).toEqual(refs);
    expect(result.totalCount.count).toBe(refs.length);
  });

  test("actions by their pack, and by their runtime", async () => {
    const { pack, runtime } = await ask(
      `{ pack: packByRef(ref: "search_mail") { ${found("actions")} }
        runtime: runtimeByRef(ref: "core.action.python") { ${found('actions(where: {ref: {startsWith: "search_"}})')} } }`,
    );
    expect(pack.found.nodes.map(({ ref }: { ref: string }) => ref).sort()).toEqual([all[2], all[3]]);
    expect(runtime.found.nodes.map(({ ref }: { ref: string }) => ref).sort()).toEqual([all[0], all[2]]);
  });
});
