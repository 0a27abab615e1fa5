import { sql } from "drizzle-orm";
import { getNamedType, getNullableType, isInputObjectType, isLeafType, isListType, isNonNullType } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSession } from "../../src/access/session.ts";
import { createSessions, type Sessions } from "../../src/access/sessions.ts";
import { schema } from "../../src/graphql/schema.ts";
import { createGraphQL } from "../../src/graphql/transport/server.ts";
import { createLog } from "../../src/log.ts";
import { createFeed, type Feed } from "../../src/notifier/feed.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { createServices, type TestServices, withoutFeed } from "../support/database.ts";
import { anyLeaf, inputFor } from "../support/input.ts";

const session = openSession("1");
const globalId = (typename: string, id: number) => btoa(`${typename}:${id}`);

let services: TestServices;
let feed: Feed;
let sessions: Sessions;
let yoga: ReturnType<typeof createGraphQL>;
let signedIn = true;

// biome-ignore lint/suspicious/noExplicitAny: responses have the shape of their documents
type Result = { data: any; errors?: { message: string; path?: string[]; extensions: { code: string } }[] };

/** Runs a document and returns the response with the statements that it caused, except the feed's. */
async function ask(query: string, variables: object = {}): Promise<Result & { statements: string[] }> {
  services.statements.length = 0;
  const response = await yoga.fetch("http://localhost/graphql", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const result = (await response.json()) as Result;
  return { ...result, statements: withoutFeed(services.statements) };
}

/** Inserts 30 rows of everything, created a second apart. */
async function seed(): Promise<void> {
  const inserts = [
    `insert into attune.identity (login) values ('reader')`,
    `insert into attune.pack (ref, label, version, created) select 'pack' || lpad(n::text, 2, '0'), 'Pack ' || n, '1.0.0', at from n`,
    `insert into attune.runtime (ref, pack, pack_ref, runtime_type, name, distributions, created)
      select 'pack01.action.r' || n, 1, 'pack01', 'action', 'r' || n, '{}', at from n`,
    `insert into attune.trigger (ref, pack, pack_ref, label, created) select 'pack01.t' || n, 1, 'pack01', 'T', at from n`,
    `insert into attune.action (ref, pack, pack_ref, label, entrypoint, runtime, enabled, description, created)
      select 'pack01.a' || lpad(n::text, 2, '0'), 1, 'pack01', 'Action 100%_' || n, 'x', 1, n % 2 = 0, case when n > 20 then 'Late' end, at from n`,
    `insert into attune.rule (ref, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, owner, created)
      select 'pack01.r' || n, 1, 'pack01', 'R', 1, 'pack01.a01', 1, 'pack01.t1', 1, at from n`,
    `insert into attune.timer (rule, kind, next_fire_at) select n, 'interval:60', at from n`,
    `insert into attune.event (trigger, trigger_ref, payload, trace_tag, created) select 1, 'pack01.t1', '{"n": 1}', 'trace' || n, at from n`,
    `insert into attune.rule_evaluation (event, rule, rule_revision, matched, detail) select 1, n, 1, true, '[]' from n`,
    `insert into attune.enforcement (rule, rule_ref, trigger_ref, event, created) select n, 'pack01.r' || n, 'pack01.t1', 1, at from n`,
    `insert into attune.worker (name, worker_type, runtime, status, created) select 'w' || lpad(n::text, 2, '0'), 'local', 1, 'active', at from n`,
    `insert into attune.execution (action, action_ref, rule_ref, trigger_ref, enforcement, executor, worker, parent, root, config,
        on_worker_loss, trace_tag, created, depth)
      select 1, 'pack01.a01', 'pack01.r1', 'pack01.t1', 1, 1, 1, case when n > 1 then 1 end, case when n > 1 then 1 end,
        '{"message": "hi"}', 'abandon', 'trace' || n, at, case when n > 1 then 1 else 0 end from n`,
    `insert into attune.execution_log (execution, seq, stream, at, text) select 1, n, 'stdout', at, 'line ' || n from n`,
    `update attune.event set cause_execution = 1`,
  ];
  const numbers = `with n as (select n, timestamptz '2026-01-01' + make_interval(secs => n) as at from generate_series(1, 30) n)`;
  for (const insert of inserts) {
    const [into, rows] = insert.split(/(?=\bselect\b)/);
    await services.db.execute(
      sql.raw(rows === undefined ? insert : `${into} ${numbers} ${insert.slice(into?.length)}`),
    );
  }
}

beforeAll(async () => {
  services = await createServices();
  await seed();
  feed = await createFeed(services);
  const log = createLog({ level: "silent", format: "json" }); // one failure is on purpose
  const keyed = { ...services, log, keyring: createKeyring(Buffer.alloc(32, 1)) };
  sessions = createSessions(services.db, log);
  yoga = createGraphQL({ services: keyed, feed, sessions, authenticate: async () => (signedIn ? session : null) });
});

afterAll(async () => {
  await sessions[Symbol.asyncDispose]();
  await feed[Symbol.asyncDispose]();
  await services[Symbol.asyncDispose]();
});

const page = (fields: string) => `totalCount { count } pageInfo { endCursor } nodes { id ${fields} }`;

const documents: Record<string, string> = {
  "packs → actions → executions": `query($n: Int) { packs(first: $n) { ${page(
    `actions(first: $n) { ${page(`executions(first: $n) { ${page("status")} }`)} } triggers(first: $n) { totalCount { count } } rules(first: $n) { nodes { ref } } runtimes(first: $n) { nodes { ref } }`,
  )} } }`,
  actions: `query($n: Int) { actions(first: $n) { ${page("ref pack { ref } runtime { ref } rules(first: $n) { totalCount { count } nodes { ref } }")} } }`,
  triggers: `query($n: Int) { triggers(first: $n) { ${page("webhookPath pack { ref } rules(first: $n) { nodes { ref } } events(first: $n) { nodes { id } }")} } }`,
  rules: `query($n: Int) { rules(first: $n) { ${page("owner { login } timer { nextFireAt } action { ref } trigger { ref } enforcements(first: $n) { totalCount { count } nodes { id } } evaluations(first: $n) { nodes { matched event { id } } }")} } }`,
  events: `query($n: Int) { events(first: $n) { ${page("payload cause { id } trigger { ref } evaluations(first: $n) { nodes { rule { ref } } } enforcements(first: $n) { nodes { status } }")} } }`,
  enforcements: `query($n: Int) { enforcements(first: $n) { ${page("rule { ref } event { id } executions(first: $n) { nodes { id } }")} } }`,
  executions: `query($n: Int) { executions(first: $n) { ${page("parameters action { ref } enforcement { rule { ref } } executor { login } worker { name } parent { id } root { id } children(first: $n) { totalCount { count } nodes { id } } transitions(first: $n) { nodes { toStatus at } } logs(first: $n) { nodes { text } } events(first: $n) { nodes { id } }")} } }`,
  workers: `query($n: Int) { workers(first: $n) { ${page("runtime { ref } executions(first: $n) { nodes { id } }")} } }`,
  runtimes: `query($n: Int) { runtimes(first: $n) { ${page("pack { ref } actions(first: $n) { nodes { ref } } workers(first: $n) { nodes { name } }")} } }`,
  notifications: `query($n: Int) { notifications(first: $n, where: {channel: {eq: "execution"}}) { ${page("activity content entity { id ... on Execution { action { ref } } }")} } }`,
  "changes by polling": `query($n: Int) { executionStatusMessages(first: $n) { cursor toStatus execution { status action { ref } } } }`,
  "the same list under two names": `query($n: Int) { packs(first: $n) { nodes { a: actions(first: $n) { nodes { ref } } b: actions(first: 1, where: {enabled: {eq: true}}) { nodes { ref } } } } }`,
};

describe("statements", () => {
  test.each(Object.entries(documents))("of %s do not grow with the page", async (_name, document) => {
    const small = await ask(document, { n: 2 });
    const large = await ask(document, { n: 12 });
    expect(small.errors).toBeUndefined();
    expect(large.errors).toBeUndefined();
    expect(JSON.stringify(large.data).length).toBeGreaterThan(JSON.stringify(small.data).length);
    expect(large.statements.length).toBe(small.statements.length);
    expect(large.statements.length).toBeLessThanOrEqual(3);
  });

  test("read only the selected columns", async () => {
    const { statements } = await ask("{ triggers { nodes { ref } } viewer { identity { login } } }");
    expect(statements.join()).not.toMatch(/webhook_key|webhook_config|password_hash|param_schema/);
  });

  test("count the filtered rows, and only when the total is selected", async () => {
    const where = `where: {ref: {in: ["pack01.a01", "pack01.a02", "pack01.a03"]}}`;
    const without = await ask(`{ actions(first: 2, ${where}) { nodes { ref } } }`);
    expect(without.statements.filter((text) => text.includes("count("))).toHaveLength(0);
    const within = await ask(`{ actions(first: 2, ${where}) { totalCount { count } nodes { ref } } }`);
    expect(within.data.actions).toEqual({ totalCount: { count: 3 }, nodes: without.data.actions.nodes });
    const alone = await ask(`{ packs(first: 1) { nodes { actions(${where}) { totalCount { count } } } } }`);
    expect(alone.data.packs.nodes).toEqual([{ actions: { totalCount: { count: 3 } } }]);
    expect(alone.statements).toHaveLength(1);
  });
});

describe("pages", () => {
  test("forward over 30 rows while newer ones are inserted: each of the 30 once", async () => {
    const seen: string[] = [];
    let after: string | null = null;
    for (let round = 0; round < 10; round += 1) {
      const { data } = await ask(
        `query($after: String) { events(first: 7, after: $after, where: {generation: {eq: 0}}) { pageInfo { hasNextPage endCursor } nodes { traceTag } } }`,
        { after },
      );
      seen.push(...data.events.nodes.map((node: { traceTag: string }) => node.traceTag));
      await services.db.execute(
        sql`insert into attune.event (trigger_ref, trace_tag, generation) values ('pack01.t1', 'newer', ${round === 0 ? 0 : 1})`,
      );
      after = data.events.pageInfo.endCursor;
      if (!data.events.pageInfo.hasNextPage) break;
    }
    expect(seen).toEqual(Array.from({ length: 30 }, (_, n) => `trace${30 - n}`));
    await services.db.execute(sql`delete from attune.event where trace_tag = 'newer'`);
  });

  test("backward from the end, in the order of the list", async () => {
    const last = await ask(`{ actions(last: 4) { pageInfo { hasPreviousPage startCursor } nodes { ref } } }`);
    expect(last.data.actions.nodes.map(({ ref }: { ref: string }) => ref)).toEqual(
      ["27", "28", "29", "30"].map((n) => `pack01.a${n}`),
    );
    const before = await ask(`query($before: String) { actions(last: 2, before: $before) { nodes { ref } } }`, {
      before: last.data.actions.pageInfo.startCursor,
    });
    expect(before.data.actions.nodes).toEqual([{ ref: "pack01.a25" }, { ref: "pack01.a26" }]);
  });

  test("in an order of equal values: each row once", async () => {
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const { data, errors }: Result = await ask(
        `query($after: String) { rules(first: 4, after: $after, orderBy: {field: LABEL, direction: DESC}) { pageInfo { hasNextPage endCursor } nodes { ref } } }`,
        { after },
      );
      expect(errors).toBeUndefined();
      seen.push(...data.rules.nodes.map(({ ref }: { ref: string }) => ref));
      after = data.rules.pageInfo.hasNextPage ? data.rules.pageInfo.endCursor : null;
    } while (after !== null);
    expect(seen).toHaveLength(30);
    expect(new Set(seen).size).toBe(30);
  });
});

describe("where", () => {
  const cases: [string, number][] = [
    [`{}`, 30],
    [`{ref: {eq: "pack01.a07"}}`, 1],
    [`{ref: {in: []}}`, 0],
    [`{ref: {notIn: ["pack01.a07", "nowhere"]}}`, 29],
    [`{ref: {startsWith: "PACK01.A0"}}`, 9],
    [`{label: {contains: "100%_1"}}`, 11],
    [`{label: {contains: "1001"}}`, 0],
    [`{label: {contains: "%"}, ref: {eq: "pack01.a01"}}`, 1],
    [`{description: {isNull: true}}`, 20],
    [`{description: {isNull: false}}`, 10],
    [`{description: {notIn: ["Late"]}}`, 20],
    [`{not: {description: {eq: "Late"}}}`, 20],
    [`{enabled: {eq: true}}`, 15],
    [`{enabled: null}`, 30],
    [`{created: {gt: "2026-01-01T00:00:10Z", lte: "2026-01-01T00:00:12.000Z"}}`, 2],
    [`{or: [{ref: {eq: "pack01.a01"}}, {and: [{enabled: {eq: false}}, {ref: {startsWith: "pack01.a2"}}]}]}`, 6],
    [`{or: []}`, 0],
    [`{or: [{}, {ref: {eq: "pack01.a01"}}]}`, 30],
    [`{not: {}}`, 0],
    [`{id: {in: ["${globalId("Action", 1)}", "${globalId("Action", 2)}"]}}`, 2],
    [`{runtime: {eq: "${globalId("Runtime", 1)}"}}`, 30],
    [`{runtime: {eq: "${globalId("Runtime", 2)}"}}`, 0],
  ];
  test.each(cases)("%s finds %i actions", async (where, count) => {
    const { data, errors } = await ask(
      `{ actions(first: 100, where: ${where}) { totalCount { count } nodes { id } } }`,
    );
    expect(errors).toBeUndefined();
    expect(data.actions.totalCount.count).toBe(count);
    expect(data.actions.nodes).toHaveLength(count);
  });

  test("of an enum, a pack and a trace, on executions", async () => {
    const count = async (where: string) =>
      (await ask(`{ executions(where: ${where}) { totalCount { count } } }`)).data.executions.totalCount.count;
    expect(await count(`{status: {in: [REQUESTED, RUNNING]}}`)).toBe(30);
    expect(await count(`{status: {notIn: [REQUESTED]}}`)).toBe(0);
    expect(await count(`{pack: {eq: "pack01"}, traceTag: {eq: "trace3"}}`)).toBe(1);
    expect(await count(`{parent: {isNull: true}}`)).toBe(1);
    expect(await count(`{root: {eq: "${globalId("Execution", 1)}"}}`)).toBe(29);
  });

  test("of a log, by number: only newer lines", async () => {
    const { data } = await ask(
      `{ execution(id: "${globalId("Execution", 1)}") { logs(where: {seq: {gt: "28"}}) { totalCount { count } nodes { seq text } } } }`,
    );
    expect(data.execution.logs).toEqual({
      totalCount: { count: 2 },
      nodes: [
        { seq: "29", text: "line 29" },
        { seq: "30", text: "line 30" },
      ],
    });
  });
});

describe("relations", () => {
  test("lead from an execution to its causes, and back", async () => {
    const { data } = await ask(`{ execution(id: "${globalId("Execution", 1)}") {
      enforcement { event { traceTag trigger { ref rules(first: 1) { nodes { ref } } events(last: 1) { nodes { traceTag } } }
        enforcements(last: 1) { nodes { ruleRef executions(last: 1) { nodes { id parent { id } children { totalCount { count } } } } } } } } } }`);
    const { event } = data.execution.enforcement;
    expect(event.traceTag).toBe("trace1");
    expect(event.trigger).toEqual({
      ref: "pack01.t1",
      rules: { nodes: [{ ref: "pack01.r1" }] },
      events: { nodes: [{ traceTag: "trace1" }] },
    });
    expect(event.enforcements.nodes).toEqual([
      {
        ruleRef: "pack01.r1",
        executions: {
          nodes: [{ id: globalId("Execution", 1), parent: null, children: { totalCount: { count: 29 } } }],
        },
      },
    ]);
  });

  test("lead from a notification to the changed entity", async () => {
    const { data } = await ask(
      `{ notifications(last: 1, where: {channel: {eq: "execution"}}) { nodes { channel activity entity { __typename id } } } }`,
    );
    expect(data.notifications.nodes).toEqual([
      { channel: "execution", activity: "created", entity: { __typename: "Execution", id: globalId("Execution", 1) } },
    ]);
  });

  test("by ref, by id and as a node; a missing object is null", async () => {
    const { data, errors } = await ask(`{
      packByRef(ref: "pack07") { id label } gone: packByRef(ref: "nowhere") { id }
      pack(id: "${globalId("Pack", 7)}") { ref } missing: pack(id: "${globalId("Pack", 999)}") { ref }
      node(id: "${globalId("Pack", 7)}") { id ... on Pack { ref } } nothing: node(id: "${globalId("Rule", 999)}") { id }
      nodes(ids: ["${globalId("Worker", 2)}", "${globalId("Pack", 999)}", "${globalId("Pack", 7)}"]) { __typename }
      viewer { identity { login } } }`);
    expect(errors).toBeUndefined();
    expect(data).toEqual({
      packByRef: { id: globalId("Pack", 7), label: "Pack 7" },
      gone: null,
      pack: { ref: "pack07" },
      missing: null,
      node: { id: globalId("Pack", 7), ref: "pack07" },
      nothing: null,
      nodes: [{ __typename: "Worker" }, null, { __typename: "Pack" }],
      viewer: { identity: { login: "reader" } },
    });
  });
});

describe("refusals", () => {
  const many = Array.from({ length: 101 }, () => `"x"`).join();
  const nested = (depth: number): string => (depth === 0 ? "{}" : `{not: ${nested(depth - 1)}}`);
  const cases: [string, string, string][] = [
    ["a page of 101", `{ packs(first: 101) { nodes { id } } }`, "BAD_USER_INPUT"],
    ["a page of 101, counted only", `{ packs(first: 101) { totalCount { count } } }`, "BAD_USER_INPUT"],
    [
      "a page of 101 of something related",
      `{ packs(first: 1) { nodes { actions(first: 101) { nodes { id } } } } }`,
      "BAD_USER_INPUT",
    ],
    ["a page of -1", `{ packs(last: -1) { nodes { id } } }`, "BAD_USER_INPUT"],
    ["first with last", `{ packs(first: 1, last: 1) { nodes { id } } }`, "BAD_USER_INPUT"],
    ["an invalid cursor", `{ packs(after: "nonsense") { nodes { id } } }`, "BAD_USER_INPUT"],
    [
      "the cursor of another order",
      `{ events(after: "${btoa('DC:T:["S:x","I:1"]')}") { nodes { id } } }`,
      "BAD_USER_INPUT",
    ],
    [
      "a cursor with an id out of range",
      `{ packs(before: "${btoa('DC:T:["S:x","I:99999999999999999999"]')}") { nodes { id } } }`,
      "BAD_USER_INPUT",
    ],
    ["an invalid id", `{ node(id: "nonsense") { id } }`, "BAD_USER_INPUT"],
    ["an id of an unknown type", `{ node(id: "${globalId("Nothing", 1)}") { id } }`, "BAD_USER_INPUT"],
    ["an id of a type that is not a node", `{ node(id: "${globalId("Query", 1)}") { id } }`, "BAD_USER_INPUT"],
    ["an id out of range", `{ node(id: "${btoa("Pack:99999999999999999999")}") { id } }`, "BAD_USER_INPUT"],
    ["an id of another type", `{ pack(id: "${globalId("Rule", 1)}") { id } }`, "BAD_USER_INPUT"],
    ["101 ids", `{ nodes(ids: [${many}]) { id } }`, "BAD_USER_INPUT"],
    [
      "a filter by an id of another type",
      `{ rules(where: {id: {eq: "${globalId("Pack", 1)}"}}) { totalCount { count } } }`,
      "BAD_USER_INPUT",
    ],
    ["a filter by 101 refs", `{ packs(where: {ref: {in: [${many}]}}) { totalCount { count } } }`, "BAD_USER_INPUT"],
    ["a filter by null", `{ packs(where: {ref: {eq: null}}) { totalCount { count } } }`, "BAD_USER_INPUT"],
    ["a filter nested too deep", `{ packs(where: ${nested(6)}) { totalCount { count } } }`, "BAD_USER_INPUT"],
    ["an invalid time", `{ packs(where: {created: {gt: "yesterday"}}) { totalCount { count } } }`, "BAD_USER_INPUT"],
    ["an invalid cursor of a stream", `{ executionStatusMessages(after: "nonsense") { cursor } }`, "BAD_USER_INPUT"],
    ["a cursor of another log", `{ executionStatusMessages(after: "0123456789ab.1") { cursor } }`, "CURSOR_EXPIRED"],
    [
      "a full page of full pages",
      `{ packs(first: 100) { nodes { actions(first: 100) { nodes { executions(first: 100) { nodes { id } } } } } } }`,
      "QUERY_TOO_COMPLEX",
    ],
    [
      "a chain that is too long",
      `{ executions(first: 1) { nodes ${"{ parent ".repeat(17)} { id } ${"}".repeat(17)} } }`,
      "QUERY_TOO_COMPLEX",
    ],
    [
      "too many fields",
      `{ ${Array.from({ length: 201 }, (_, n) => `a${n}: viewer { identity { login } }`).join(" ")} }`,
      "QUERY_TOO_COMPLEX",
    ],
    ["an unknown field", `{ packs { nothing } }`, "BAD_USER_INPUT"],
    ["an incomplete document", `{ packs { `, "BAD_USER_INPUT"],
  ];
  test.each(cases)("%s", async (_name, document, code) => {
    const { errors, statements } = await ask(document);
    expect(errors?.map(({ extensions }) => extensions.code)).toEqual([code]);
    expect(statements.filter((text) => !text.includes("notification_extent"))).toEqual([]);
  });

  test("name every fault of a mutation's input", async () => {
    const { data } = await ask(`mutation { createRule(input: {ref: "NO", trigger: "a.b", action: "a.b"}) {
      __typename ... on Error { code message } ... on InvalidInputError { issues { path } } } }`);
    expect(data.createRule).toMatchObject({
      __typename: "InvalidInputError",
      code: "BAD_USER_INPUT",
      issues: [{ path: "ref" }],
    });
  });

  test("an unexpected failure shows only the request's id", async () => {
    await services.db.execute(sql`alter table attune.worker rename to worker_elsewhere`);
    const { data, errors } = await ask(`{ workers { nodes { id } } packs(first: 1) { nodes { ref } } }`);
    await services.db.execute(sql`alter table attune.worker_elsewhere rename to worker`);
    expect(data).toEqual({ workers: null, packs: { nodes: [{ ref: "pack01" }] } });
    expect(errors).toHaveLength(1);
    expect(errors?.[0]?.extensions).toEqual({ code: "INTERNAL_SERVER_ERROR", requestId: expect.any(String) });
    expect(JSON.stringify(errors)).not.toMatch(/worker_elsewhere|relation|select/);
  });

  test("anonymous callers can only sign in", async () => {
    const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
    const fields = roots.flatMap((root) => Object.values(root?.getFields() ?? {}).map((field) => ({ root, field })));
    signedIn = false;
    try {
      for (const { root, field } of fields.filter((each) => each.field.name !== "signIn")) {
        const needed = field.args.filter(({ type }) => isNonNullType(type));
        const declared = needed.map(({ name, type }) => `$${name}: ${type}`).join();
        const given = needed.map(({ name }) => `${name}: $${name}`).join();
        const variables = Object.fromEntries(
          needed.map(({ name, type }) => {
            const named = getNamedType(type);
            const value = isInputObjectType(named) ? inputFor(named, { full: false, leaf: anyLeaf }) : btoa("Rule:1");
            return [name, isListType(getNullableType(type)) ? [value] : value];
          }),
        );
        const brackets = (text: string) => (text ? `(${text})` : "");
        const selection = isLeafType(getNamedType(field.type)) ? "" : "{ __typename }";
        const { errors, data, statements } = await ask(
          `${root?.name.toLowerCase()} ${brackets(declared)} { ${field.name}${brackets(given)} ${selection} }`,
          variables,
        );
        expect([field.name, errors?.[0]?.extensions.code]).toEqual([field.name, "UNAUTHENTICATED"]);
        expect(data?.[field.name] ?? null).toBeNull();
        expect(statements).toEqual([]);
      }
    } finally {
      signedIn = true;
    }
  });
});
