import { randomUUID } from "node:crypto";
import { type SQL, sql } from "drizzle-orm";
import { type GraphQLField, getNamedType, isInputObjectType } from "graphql";
import { createSchema, createYoga } from "graphql-yoga";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { recordAudit } from "../../src/access/audit.ts";
import type { Session } from "../../src/access/session.ts";
import { ForbiddenError } from "../../src/errors.ts";
import { useDenials } from "../../src/graphql/guards/denials.ts";
import { useMasking } from "../../src/graphql/guards/masking.ts";
import { auditDetails } from "../../src/graphql/kit/perform.ts";
import { schema } from "../../src/graphql/schema.ts";
import { createLog } from "../../src/log.ts";
import { removeAll } from "../../src/retention/pass.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { anyLeaf, inputFor } from "../support/input.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
let ungranted: Session;

beforeAll(async () => {
  world = await createWorld();
  api = await createApi({ ...world.services, log: createLog({ level: "silent", format: "json" }) }); // one failure is intended
  ungranted = await createPerson(world.services, "nobody", { grants: [] });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

interface Entry {
  category: string;
  event_type: string;
  outcome: string;
  actor: string | null;
  actor_login: string | null;
  actor_kind: string | null;
  resource_type: string | null;
  resource_ref: string | null;
  details: Record<string, unknown> | null;
}

const entries = (requestId: string | null) =>
  world.all<Entry>(
    sql`select category, event_type, outcome, actor::text, actor_login, actor_kind, resource_type, resource_ref, details
      from attune.audit_event where request_id = ${requestId} order by id`,
  );

const mutations = Object.values(schema.getMutationType()?.getFields() ?? {});
/** The type of a mutation's input; null for one that takes none. */
const inputOf = (field: GraphQLField<unknown, unknown>) => {
  const type = field.args[0] && getNamedType(field.args[0].type);
  return isInputObjectType(type) ? type : null;
};

async function mutate(field: GraphQLField<unknown, unknown>, session: Session) {
  const type = inputOf(field);
  const input = type ? inputFor(type, { full: false, leaf: anyLeaf }) : null;
  const result = "{ __typename ... on Error { code message } }";
  const document = type
    ? `mutation ($input: ${type.name}!) { ${field.name}(input: $input) ${result} }`
    : `mutation { ${field.name} ${result} }`;
  const response = await api.ask(session, document, { input });
  return { ...response, result: response.data?.[field.name] };
}

describe.each(mutations.map((field) => [field.name, field] as const))("the mutation %s", (name, field) => {
  // A sign-in and a reveal leave an additional entry.
  const own = async (requestId: string | null) =>
    (await entries(requestId)).filter(({ category }) => category === "mutation" || category === "denial");

  test("leaves one entry, whether it is accepted or refused", async () => {
    const { requestId, result } = await mutate(field, world.session);
    expect(requestId).toMatch(/^[\da-f-]{36}$/);
    const denied = ["FORBIDDEN", "UNAUTHENTICATED"].includes(result?.code);
    const outcome = denied ? "denied" : result && !("code" in result) ? "success" : "failure";
    expect(await own(requestId)).toMatchObject([
      { event_type: name, outcome, actor: String(world.session.identityId), actor_login: "admin", actor_kind: "api" },
    ]);
  });

  test("leaves one entry when it is denied", async () => {
    const { requestId, errors, result } = await mutate(field, ungranted);
    const denied = (errors?.[0]?.extensions["code"] ?? result?.code) === "FORBIDDEN";
    expect(await own(requestId)).toMatchObject([
      { event_type: name, actor_login: "nobody", ...(denied ? { category: "denial", outcome: "denied" } : {}) },
    ]);
  });
});

test("several mutations of one request leave one entry each", async () => {
  const create = (name: string, ref: string) => `${name}: createTrigger(input: {ref: "${ref}"}) { __typename }`;
  const { requestId, data } = await api.ask(
    world.session,
    `mutation { ${create("a", "default.first")} ${create("b", "default.first")} ${create("c", "default.second")} }`,
  );
  expect(Object.values(data).map((result) => (result as { __typename: string }).__typename)).toEqual([
    "CreateTriggerPayload",
    "ConflictError",
    "CreateTriggerPayload",
  ]);
  expect(await entries(requestId)).toMatchObject([
    { outcome: "success", resource_type: "trigger", resource_ref: "default.first", category: "mutation" },
    { outcome: "failure", details: { code: "CONFLICT" } },
    { outcome: "success", resource_ref: "default.second" },
  ]);
});

test("an entry commits with its mutation: if the entry cannot be written, the mutation is rolled back", async () => {
  await world.services.db.execute(
    sql`create function attune.no_audit() returns trigger language plpgsql as
      $$ begin if new.resource_ref = 'default.unaudited' then raise exception 'the disk is full'; end if; return new; end $$`,
  );
  await world.services.db.execute(
    sql`create trigger no_audit before insert on attune.audit_event for each row execute function attune.no_audit()`,
  );
  const { data, errors } = await api.ask(
    world.session,
    `mutation { createTrigger(input: {ref: "default.unaudited"}) { __typename } }`,
  );
  await world.services.db.execute(sql`drop trigger no_audit on attune.audit_event`);
  expect(data).toEqual({ createTrigger: null });
  expect(errors).toMatchObject([{ extensions: { code: "INTERNAL_SERVER_ERROR" } }]);
  expect(JSON.stringify(errors)).not.toContain("disk");
  expect(await world.all(sql`select 1 from attune.trigger where ref = 'default.unaudited'`)).toEqual([]);
});

describe("details", () => {
  const inputs = mutations.flatMap((field) => {
    const type = inputOf(field);
    return type ? [[field.name, type] as const] : [];
  });

  /** JSON that describes structure and holds no values. */
  const plainJson = new Set([
    "paramSchema",
    "outSchema",
    "confSchema",
    "responseSchema",
    "definition",
    "grants",
    "meta",
    "labels",
    "tags",
    "attributes",
    "workerSelector",
    "retry",
    "distributions",
    "installation",
    "executionConfig",
  ]);

  test.each(inputs)("of %s contain nothing that may be secret", (_name, type) => {
    const secret: string[] = [];
    const input = inputFor(type, {
      full: true,
      leaf: (place) => {
        const json = place.type.startsWith("JSON");
        const isNamedSecret =
          /password|secret|token|credential/i.test(place.name) || /password|secret|encrypt/i.test(place.description);
        const isSecret = json ? !plainJson.has(place.name) : place.type === "String" && isNamedSecret;
        if (isSecret && place.name !== "idempotencyKey") secret.push(place.name);
        const text = isSecret ? `canary-${place.name}` : place.name;
        return place.type === "JSONObject"
          ? { inner: text }
          : place.type === "JSON" || place.type === "String"
            ? text
            : anyLeaf(place);
      },
    });
    const written = JSON.stringify(auditDetails(input as Record<string, unknown>));
    expect(secret.filter((name) => written.includes(`canary-${name}`))).toEqual([]);
  });

  test("of a successful mutation contain its input without the secret", async () => {
    const secret = "a canary that sings";
    const { requestId } = await api.ask(
      world.session,
      `mutation ($secret: String!) { enableWebhook(input: {trigger: "default.first", maxBytes: 5, hmac: {secret: $secret}}) { __typename } }`,
      { secret },
    );
    const [entry] = await entries(requestId);
    expect(entry?.details).toEqual({ trigger: "default.first", maxBytes: 5, hmac: { secret: "[left out]" } });
    const { found } = await world.one<{ found: number }>(
      sql`select count(*)::int as found from attune.audit_event e where e::text like ${`%${secret}%`}`,
    );
    expect(found).toBe(0);
  });
});

describe("a denial", () => {
  test("of a query leaves one entry, however many fields were denied", async () => {
    const { requestId, data, errors } = await api.ask(
      ungranted,
      `query Spy { first: rules { nodes { id } } packs { totalCount { count } } viewer { identity { login } } }`,
    );
    expect(data).toMatchObject({ first: null, packs: null });
    expect(errors).toHaveLength(2);
    const denial = await until(async () => (await entries(requestId))[0], "the entry");
    expect(denial).toMatchObject({
      category: "denial",
      event_type: "rules",
      outcome: "denied",
      actor_login: "nobody",
      details: { operation: "query", paths: ["first", "packs"] },
    });
    await api.ask(world.session, `mutation { createTrigger(input: {ref: "default.then"}) { __typename } }`);
    expect(await entries(requestId)).toHaveLength(1);
  });

  test("of a subscription leaves one entry", async () => {
    // The API's subscriptions omit what they may not show, so this test defines one that is denied.
    const denied = () => {
      throw new ForbiddenError("You may not listen.");
    };
    const { services, session } = world;
    const context = { services, session, ip: null, requestId: randomUUID() };
    const yoga = createYoga({
      schema: createSchema({
        typeDefs: "type Query { a: Int } type Subscription { heard: Int }",
        resolvers: { Subscription: { heard: { subscribe: denied } } },
      }),
      logging: false,
      context: () => context,
      plugins: [useMasking({ log: services.log, metrics: services.metrics, hideSuggestions: false }), useDenials()],
    });
    const response = await yoga.fetch("http://localhost/graphql", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ query: "subscription { heard }" }),
    });
    expect(await response.text()).toContain("FORBIDDEN");
    const denial = await until(async () => (await entries(context.requestId))[0], "the entry");
    expect(denial).toMatchObject({ category: "denial", event_type: "heard", details: { operation: "subscription" } });
  });

  test("for lack of a session leaves no entry, nor does a permitted query", async () => {
    const anonymous = await api.ask(null, "{ rules { nodes { id } } }");
    expect(anonymous.errors).toMatchObject([{ extensions: { code: "UNAUTHENTICATED" } }]);
    const permitted = await api.ask(world.session, "{ rules { nodes { id } } }");
    expect(permitted.errors).toBeUndefined();
    const marker = await api.ask(ungranted, "{ rules { nodes { id } } }");
    await until(async () => (await entries(marker.requestId)).length === 1, "a later denial's entry");
    expect(await entries(anonymous.requestId)).toEqual([]);
    expect(await entries(permitted.requestId)).toEqual([]);
  });
});

describe("the trail is append-only", () => {
  test.each([
    ["changed", sql`update attune.audit_event set outcome = 'success', details = null`],
    ["reassigned", sql`update attune.audit_event set actor = null where actor is not null`],
    ["removed", sql`delete from attune.audit_event`],
    ["emptied", sql`truncate attune.audit_event`],
  ])("its entries cannot be %s", async (_what, statement) => {
    const before = await world.one<{ count: number }>(sql`select count(*)::int from attune.audit_event`);
    expect(before.count).toBeGreaterThan(0);
    const failure = await world.services.db.execute(statement).then(
      () => null,
      (error: Error) => String(error.cause),
    );
    expect(failure).toContain("append-only");
    expect(await world.one(sql`select count(*)::int from attune.audit_event`)).toEqual(before);
  });

  test("deleting an identity clears the actor and keeps the login", async () => {
    const gone = await createPerson(world.services, "gone");
    const { requestId } = await api.ask(
      gone,
      `mutation { createTrigger(input: {ref: "default.by_gone"}) { __typename } }`,
    );
    expect(await entries(requestId)).toMatchObject([{ actor: String(gone.identityId), actor_login: "gone" }]);
    await world.services.db.execute(sql`delete from attune.identity where login = 'gone'`);
    expect(await entries(requestId)).toMatchObject([{ actor: null, actor_login: "gone", outcome: "success" }]);
  });

  test("retention removes entries older than a year, and used idempotency keys and ended credentials after a day", async () => {
    const at = (days: number) =>
      world.services.db.execute(
        sql`insert into attune.audit_event (category, event_type, outcome, request_id, created)
          values ('mutation', 'old', 'success', 'days-' || ${days}::int, now() - make_interval(days => ${days}::int))`,
      );
    await at(364);
    await at(366);
    const key = (name: string, hours: number) =>
      world.services.db.execute(
        sql`insert into attune.idempotency_key (identity, key, operation, input_hash, entity_type, entity, created)
          select id, ${name}, 'createRule', '', 'rule', 1, now() - make_interval(hours => ${hours}::int) from attune.identity where login = 'admin'`,
      );
    await key("young", 23);
    await key("old", 25);
    await removeAll(world.services, "audit");
    const token = (name: string, kind: string, ended: SQL) =>
      world.services.db.execute(
        sql`insert into attune.token (kind, token_hash, identity, label, created, revoked_at, expires_at)
          select ${kind}, ${name}, id, ${name}, now() - interval '2 days', ${ended} from attune.identity where login = 'admin'`,
      );
    const [longAgo, lately] = [sql`now() - interval '25 hours'`, sql`now() - interval '23 hours'`];
    await token("ended long ago", "execution", sql`${longAgo}, now() + interval '1 day'`);
    await token("ended lately", "execution", sql`${lately}, null`);
    await token("expired long ago", "session", sql`null, ${longAgo}`);
    await token("an API token", "api", sql`${longAgo}, ${longAgo}`);
    await token("good", "session", sql`null, now() + interval '1 day'`);
    const notices = () =>
      world.one<{ count: number }>(
        sql`select count(*)::int as count from attune.notification where channel in ('access', 'token')`,
      );
    const before = await notices();
    await removeAll(world.services, "tokens");
    expect(
      await world.all(sql`select label from attune.token where label ~ ' ago$| lately$|^good$|^an API' order by label`),
    ).toEqual([{ label: "an API token" }, { label: "ended lately" }, { label: "good" }]);
    expect(await notices()).toEqual(before); // ended credentials granted nothing, so no cache is invalidated
    await removeAll(world.services, "idempotency_keys");
    expect(await entries("days-364")).toHaveLength(1);
    expect(await entries("days-366")).toHaveLength(0);
    expect(await world.all(sql`select key from attune.idempotency_key where key in ('young', 'old')`)).toEqual([
      { key: "young" },
    ]);
    const failure = await world.services.db
      .execute(sql`delete from attune.audit_event`)
      .catch((error: Error) => String(error.cause));
    expect(failure).toContain("append-only");
  });
});

describe("reading through the API", () => {
  const list =
    "auditEvents(first: 5, where: $where) { totalCount { count } nodes { id category eventType outcome actorLogin actorKind ip requestId resourceType resourceRef details created actor { login } } }";
  const read = async (session: Session, where: object) => {
    const { data, errors } = await api.ask(session, `query ($where: AuditEventWhere) { ${list} }`, { where });
    expect(errors).toBeUndefined();
    return data.auditEvents;
  };

  test("each filter finds the entry", async () => {
    const requestId = "0b6a4c3e-0000-4000-8000-000000000000";
    await recordAudit(world.services.db, {
      category: "reveal",
      eventType: "revealKey",
      outcome: "success",
      session: world.session,
      ip: "192.0.2.7",
      requestId,
      resourceType: "key",
      resourceRef: "system.a",
      details: null,
    });
    const node = {
      category: "reveal",
      eventType: "revealKey",
      outcome: "SUCCESS",
      ip: "192.0.2.7",
      actor: { login: "admin" },
      details: null,
    };
    for (const where of [
      { requestId: { eq: requestId } },
      { category: { eq: "reveal" }, outcome: { eq: "SUCCESS" }, ip: { eq: "192.0.2.7" } },
      { resourceType: { eq: "key" }, resourceRef: { startsWith: "system." }, actorLogin: { eq: "admin" } },
    ]) {
      expect(await read(world.session, where)).toMatchObject({ totalCount: { count: 1 }, nodes: [node] });
    }
    const { nodes } = await read(world.session, { requestId: { eq: requestId } });
    const one = await api.ask(
      world.session,
      "query ($id: ID!) { auditEvent(id: $id) { eventType } node(id: $id) { id } }",
      nodes[0],
    );
    expect(one.data).toEqual({ auditEvent: { eventType: "revealKey" }, node: { id: nodes[0].id } });
  });

  test("an identity that may read its own entries reads only those", async () => {
    const own = await createPerson(world.services, "own", {
      grants: [{ resource: "audit_event", actions: ["read"], constraints: { owner: "self" } }],
    });
    await api.ask(own, `mutation { createTrigger(input: {ref: "default.own"}) { __typename } }`);
    const { totalCount, nodes } = await read(own, {});
    expect({ totalCount, logins: nodes.map(({ actorLogin }: { actorLogin: string }) => actorLogin) }).toEqual({
      totalCount: { count: 1 },
      logins: ["own"],
    });
    const denied = await api.ask(ungranted, "{ auditEvents { totalCount { count } } }");
    expect(denied.errors).toMatchObject([{ extensions: { code: "FORBIDDEN" } }]);
  });
});
