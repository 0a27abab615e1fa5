import { createHash, randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";
import { moves } from "../../src/execution/states.ts";
import { overEvents, overSocket } from "../support/client.ts";
import { cloneDatabase, createServices } from "../support/database.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const transports = [
  ["graphql-ws", overSocket],
  ["server-sent events", overEvents],
] as const;

type Where = Record<string, Record<string, unknown>>;

interface Step {
  cursor: string;
  executionId: string;
  actionRef: string;
  fromStatus: string | null;
  toStatus: string;
}
interface Change extends Step {
  change: "ENTERED" | "UPDATED" | "LEFT";
}

/** A server's address and the token of a session. */
interface Caller {
  url: string;
  token: string;
}

let server: RunningServer;
/** The caller that may read only the executions of `core.noop`, and the events and enforcements of the pack `open`. */
let narrowed: Caller;

/** Returns a generator of pseudorandom numbers, the same in each run. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}

const random = createRandom(11);
const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;

/** Prepares the server's database: executions on random walks to their ends, a worker, and the narrowed identity. */
async function prepare(): Promise<{ location: Awaited<ReturnType<typeof cloneDatabase>>; token: string }> {
  const location = await cloneDatabase("core");
  await using services = await createServices(location);
  const { db } = services;
  await migrate(services.database, async () => {}); // the first start over a copy empties the log
  const created = await rows<{ id: string }>(
    db,
    sql`insert into attune.execution (action_ref, trace_tag, on_worker_loss, status)
      select 'walks.' || case n % 2 when 0 then 'even' else 'odd' end, 'walks', 'abandon', 'requested'
      from generate_series(1, 60) n returning id::text`,
  );
  await db.execute(
    sql`insert into attune.worker (name, worker_type, status, last_heartbeat) values ('gone', 'local', 'active', now() - interval '1 day')`,
  );
  const walking = created.map(({ id }) => ({ id, status: "requested" as keyof typeof moves }));
  while (walking.length > 0) {
    const one = pick(walking);
    one.status = pick(moves[one.status]);
    await db.execute(
      sql`update attune.execution set status = ${one.status}::attune.execution_status,
        worker = case when ${one.status} = 'running' then (select id from attune.worker where name = 'gone') else worker end,
        finished_at = case when attune.is_terminal(${one.status}::attune.execution_status) then now() end where id = ${one.id}::bigint`,
    );
    if (moves[one.status].length === 0) walking.splice(walking.indexOf(one), 1);
  }
  for (const change of [sql`cordoned = true`, sql`last_heartbeat = now()`, sql`status = 'inactive'`]) {
    await db.execute(sql`update attune.worker set ${change} where name = 'gone'`);
  }
  const value = `att_api_${randomBytes(32).toString("base64url")}`;
  const grants = [
    { resource: "execution", actions: ["read"], constraints: { refs: ["core.noop"] } },
    { resource: "event", actions: ["read"], constraints: { refs: ["default.open"] } },
    { resource: "enforcement", actions: ["read"], constraints: { refs: ["default.open"] } },
  ];
  await db.execute(
    sql`with i as (insert into attune.identity (login) values ('narrow') returning id),
        s as (insert into attune.permission_set (ref, grants) values ('default.narrow', ${JSON.stringify(grants)}::text::jsonb) returning id),
        a as (insert into attune.permission_assignment (identity, permission_set) select i.id, s.id from i, s)
      insert into attune.token (kind, token_hash, identity) select 'api', ${createHash("sha256").update(value).digest("hex")}, i.id from i`,
  );
  return { location, token: value };
}

beforeAll(async () => {
  const { location, token } = await prepare();
  server = await startInProcess(location);
  narrowed = { url: server.url, token };
  for (const name of ["open", "shut"]) {
    await request(
      server,
      `mutation ($trigger: String!, $ref: String!) {
        createTrigger(input: {ref: $trigger}) { __typename ... on Error { message } }
        createRule(input: {ref: $ref, trigger: $trigger, action: "core.noop"}) { __typename ... on Error { message } } }`,
      { trigger: `default.${name}`, ref: `default.${name}` },
    );
  }
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Returns all pages of a polling query. */
async function poll<T extends { cursor: string }>(
  field: string,
  fields: string,
  { where = {}, after = null, type, at = server }: { where?: Where; after?: string | null; type: string; at?: Caller },
): Promise<T[]> {
  const query = `query ($where: ${type}, $after: Cursor) { ${field}(where: $where, after: $after, first: 100) { cursor ${fields} } }`;
  const all: T[] = [];
  let from = after;
  for (;;) {
    const page = (await request<Record<string, T[]>>(at, query, { where, after: from }))[field] ?? [];
    all.push(...page);
    if (page.length < 100) return all;
    from = page.at(-1)?.cursor ?? null;
  }
}

const stepFields = "executionId actionRef fromStatus toStatus";
const changeFields = `change ${stepFields}`;
const steps = (where: Where, after: string | null = null, at: Caller = server) =>
  poll<Step>("executionStatusMessages", stepFields, { where, after, at, type: "ExecutionStatusWhere" });
const changes = (where: Where, after: string | null = null, at: Caller = server) =>
  poll<Change>("executionsChangedMessages", changeFields, { where, after, at, type: "ExecutionsChangedWhere" });
const subscription = `subscription ($where: ExecutionsChangedWhere, $after: Cursor) { executionsChanged(where: $where, after: $after) { cursor ${changeFields} } }`;

/** Returns whether a filter matches the status. */
function keeps(filter: Record<string, unknown> | undefined, status: string): boolean {
  if (!filter) return true;
  if ("eq" in filter) return filter["eq"] === status;
  if ("in" in filter) return (filter["in"] as string[]).includes(status);
  return !(filter["notIn"] as string[]).includes(status);
}

/** Maintains the filtered collection as a client would; returns the change of each step and the final members. */
function model(
  all: readonly Step[],
  status: Record<string, unknown> | undefined,
): { emitted: Change[]; members: Set<string> } {
  const members = new Set<string>();
  const emitted: Change[] = [];
  for (const step of all) {
    const was = members.has(step.executionId);
    const is = keeps(status, step.toStatus);
    if (is) members.add(step.executionId);
    else members.delete(step.executionId);
    if (was || is) emitted.push({ ...step, change: was ? (is ? "UPDATED" : "LEFT") : "ENTERED" });
  }
  return { emitted, members };
}

const statuses = Object.keys(moves).map((status) => status.toUpperCase());

function someStatuses(): Record<string, unknown> | undefined {
  const some = statuses.filter(() => random(2) === 0);
  return pick([{ in: some }, { notIn: some }, { eq: pick(statuses) }, undefined]);
}

async function run(action: string, parameters: object = {}): Promise<string> {
  const result = await request<{ executeAction: { execution: { id: string } } }>(
    server,
    `mutation ($action: String!, $parameters: JSONObject) { executeAction(input: {action: $action, parameters: $parameters}) {
      ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`,
    { action, parameters },
  );
  return result.executeAction.execution.id;
}

const ended = (id: string) =>
  until(async () => {
    const all = await steps({ id: { eq: id } });
    return all.find(({ toStatus }) => moves[toStatus.toLowerCase() as keyof typeof moves].length === 0);
  }, `the end of ${id}`);

describe("executionsChanged", () => {
  test("delivers for random walks and filters exactly the changes of each collection", async () => {
    const where: Where = { traceTag: { eq: "walks" } };
    const all = await steps(where);
    expect(all.length).toBeGreaterThan(120);
    const seen = new Set<string>();
    for (let round = 0; round < 30; round += 1) {
      const status = someStatuses();
      const fixed: Where = {
        ...where,
        ...pick<Where>([{}, { action: { eq: "walks.even" } }, { pack: { eq: "walks" } }]),
      };
      const chosen = { ...fixed, ...(status ? { status } : {}) };
      const { emitted, members } = model(
        all.filter(({ actionRef }) => !fixed["action"] || actionRef === "walks.even"),
        status,
      );
      expect(await changes(chosen)).toEqual(emitted);
      for (const { change } of emitted) seen.add(change);
      const list = await request<{ executions: { nodes: { id: string }[] } }>(
        server,
        `query ($where: ExecutionWhere) { executions(first: 100, where: $where) { nodes { id } } }`,
        { where: chosen },
      );
      expect(new Set(list.executions.nodes.map(({ id }) => id))).toEqual(members);
    }
    expect([...seen].sort()).toEqual(["ENTERED", "LEFT", "UPDATED"]);
  });

  test("is filtered by the time of creation", async () => {
    const [step] = await poll<Step & { execution: { created: string } }>(
      "executionsChangedMessages",
      "execution { created }",
      {
        type: "ExecutionsChangedWhere",
        where: { traceTag: { eq: "walks" } },
      },
    );
    const created = step?.execution.created;
    const count = async (operator: string) =>
      (await changes({ traceTag: { eq: "walks" }, created: { [operator]: created } })).length;
    const all = (await changes({ traceTag: { eq: "walks" } })).length;
    expect(await count("eq")).toBe(all); // one statement created them all
    expect([await count("gte"), await count("lte")]).toEqual([all, all]);
    expect([await count("gt"), await count("lt")]).toEqual([0, 0]);
  });

  test.each(transports)(
    "over %s delivers the same live as in a replay, and resumes after a cursor",
    async (_name, subscribe) => {
      const after = (await ended(await run("core.noop"))).cursor;
      const where: Where = { pack: { eq: "core" }, status: { in: ["SCHEDULED", "RUNNING", "FAILED"] } };
      const stream = subscribe<Change>(server, { query: subscription, variables: { where, after } });
      const open = subscribe<Change>(server, { query: subscription, variables: { where: {}, after } });
      const long = await run("core.sleep", { seconds: 20 });
      await Promise.all(
        [run("core.noop"), run("core.fail"), run("core.echo", { message: "hi" })].map(async (id) => ended(await id)),
      );
      await until(async () => (await steps({ id: { eq: long }, status: { eq: "RUNNING" } })).length, "the long one");
      await until(() => stream.seen.length > 5, "some messages");
      stream.drop();
      await stream.ended;
      await request(
        server,
        `mutation ($id: ID!) { cancelExecution(input: {id: $id}) { __typename ... on Error { message } } }`,
        { id: long },
      );
      const last = await ended(long);
      const cut = stream.seen.at(-2);
      const rest = subscribe<Change>(server, { query: subscription, variables: { where, after: cut?.cursor } });
      await until(
        () => rest.seen.some(({ executionId, change }) => executionId === long && change === "LEFT"),
        "the cancelled one",
      );
      await until(() => open.seen.some(({ cursor }) => cursor === last.cursor), "the last step");
      rest.drop();
      open.drop();
      const all = await steps({ pack: { eq: "core" } }, after);
      const expected = model(all, where["status"]).emitted;
      expect([...stream.seen.slice(0, -1), ...rest.seen]).toEqual(expected);
      expect(await changes(where, after)).toEqual(expected);
      expect(open.seen).toEqual(model(all, undefined).emitted);
      expect(
        open.seen
          .filter(({ executionId }) => executionId === long)
          .map(({ change, toStatus }) => `${change} ${toStatus}`),
      ).toEqual([
        "ENTERED REQUESTED",
        ...["SCHEDULING", "SCHEDULED", "RUNNING", "CANCELING", "CANCELLED"].map((status) => `UPDATED ${status}`),
      ]);
    },
  );

  test("delivers an execution from before the cursor as updated or left", async () => {
    const [first, ...others] = await steps({ traceTag: { eq: "walks" } });
    const known = new Set([first?.executionId]);
    const later = await changes({ traceTag: { eq: "walks" } }, first?.cursor);
    expect(later).toHaveLength(others.length);
    for (const { executionId, fromStatus, change } of later) {
      expect(change).toBe(known.has(executionId) && fromStatus ? "UPDATED" : "ENTERED");
      known.add(executionId);
    }
  });
});

const eventFields = "occurredAt eventId triggerRef sourceRef traceTag event { payload }";
const enforcementFields = "occurredAt enforcementId ruleRef triggerRef eventId status enforcement { status }";
const workerFields = "occurredAt workerId name status cordoned worker { name }";

describe.each(transports)("over %s", (name, subscribe) => {
  test("eventCreated and enforcementChanged deliver each event and its enforcements, as polling does", async () => {
    const after = (await ended(await run("core.noop"))).cursor;
    const events = subscribe<{ eventId: string; cursor: string }>(server, {
      query: `subscription ($after: Cursor) { eventCreated(where: {trigger: {in: ["default.open", "default.shut"]}}, after: $after) { cursor ${eventFields} } }`,
      variables: { after },
    });
    const enforcements = subscribe<{ eventId: string; status: string; cursor: string }>(server, {
      query: `subscription ($after: Cursor) { enforcementChanged(where: {rule: {eq: "default.open"}}, after: $after) { cursor ${enforcementFields} } }`,
      variables: { after },
    });
    const send = async (trigger: string) => {
      const result = await request<{ createEvent: { event: { id: string } } }>(
        server,
        `mutation ($trigger: String!, $tag: String) { createEvent(input: {trigger: $trigger, payload: {n: 1}, traceTag: $tag}) {
          ... on CreateEventPayload { event { id } } ... on Error { message } } }`,
        { trigger, tag: `${name} ${trigger}` },
      );
      return result.createEvent.event.id;
    };
    const sent = [await send("default.open"), await send("default.shut"), await send("default.open")];
    await until(() => events.seen.length >= 3, "three events");
    await until(() => new Set(enforcements.seen.map(({ eventId }) => eventId)).size >= 2, "two enforcements");
    events.drop();
    enforcements.drop();
    expect(events.seen.map(({ eventId }) => eventId)).toEqual(sent);
    expect(events.seen[1]).toMatchObject({
      triggerRef: "default.shut",
      sourceRef: null,
      traceTag: `${name} default.shut`,
      event: { payload: { n: 1 } },
    });
    expect(enforcements.seen[0]).toMatchObject({
      ruleRef: "default.open",
      triggerRef: "default.open",
      eventId: sent[0],
    });
    const polled = await poll("eventCreatedMessages", eventFields, {
      type: "EventCreatedWhere",
      after,
      where: { pack: { eq: "default" } },
    });
    expect(polled).toEqual(events.seen);
    const some = await poll("eventCreatedMessages", "eventId", {
      type: "EventCreatedWhere",
      after,
      where: { traceTag: { eq: `${name} default.shut` } },
    });
    expect(some).toMatchObject([{ eventId: sent[1] }]);
    const of = await poll<{ cursor: string; status: string }>("enforcementChangedMessages", enforcementFields, {
      type: "EnforcementChangedWhere",
      after,
      where: { event: { in: [sent[0], sent[2]] } },
    });
    expect(of.slice(0, enforcements.seen.length)).toEqual(enforcements.seen);
    for (const status of ["CREATED", "PROCESSED", "DISABLED"]) {
      const filtered = await poll<{ cursor: string; status: string }>("enforcementChangedMessages", enforcementFields, {
        type: "EnforcementChangedWhere",
        after,
        where: { event: { in: [sent[0], sent[2]] }, status: { eq: status } },
      });
      expect(filtered).toEqual(of.filter((each) => each.status === status));
    }
  });

  test("workerChanged delivers registration, cordon and end, but not heartbeats", async () => {
    const [first, ...others] = await poll<{ cursor: string }>("workerChangedMessages", workerFields, {
      type: "WorkerChangedWhere",
      where: { name: { eq: "gone" } },
    });
    expect([first, ...others]).toMatchObject([
      { name: "gone", status: "ACTIVE", cordoned: false, worker: { name: "gone" } },
      { status: "ACTIVE", cordoned: true },
      { status: "INACTIVE", cordoned: true },
    ]);
    const stream = subscribe(server, {
      query: `subscription ($after: Cursor) { workerChanged(where: {name: {eq: "gone"}}, after: $after) { cursor ${workerFields} } }`,
      variables: { after: first?.cursor },
    });
    await until(() => stream.seen.length >= others.length, "the other messages");
    stream.drop();
    expect(stream.seen).toEqual(others);
    const cordoned = await poll("workerChangedMessages", "status", {
      type: "WorkerChangedWhere",
      where: { cordoned: { eq: true }, status: { eq: "INACTIVE" } },
    });
    expect(cordoned).toMatchObject([{ status: "INACTIVE" }]);
    const before = { cordoned: { eq: false }, name: { eq: "gone" } };
    expect(await poll("workerChangedMessages", "name", { type: "WorkerChangedWhere", where: before })).toHaveLength(1);
  });

  test("a session with fewer grants receives only what it may read, live and by polling", async () => {
    const after = (await ended(await run("core.noop"))).cursor;
    const follow = (field: string, fields: string) =>
      subscribe<Record<string, string>>(narrowed, {
        query: `subscription ($after: Cursor) { ${field}(after: $after) { cursor ${fields} } }`,
        variables: { after },
      });
    const executions = follow("executionsChanged", "actionRef execution { actionRef }");
    const events = follow("eventCreated", "triggerRef event { triggerRef }");
    const enforcements = follow("enforcementChanged", "ruleRef eventId");
    const workers = follow("workerChanged", "name");
    await Promise.all(
      [run("core.echo", { message: "not for everyone" }), run("core.fail")].map(async (id) => ended(await id)),
    );
    const fire = `mutation ($trigger: String!) { createEvent(input: {trigger: $trigger}) { __typename ... on Error { message } } }`;
    for (const trigger of ["default.shut", "default.open", "default.shut"]) await request(server, fire, { trigger });
    const all = () => steps({ status: { eq: "COMPLETED" }, action: { eq: "core.noop" } }, after);
    await until(async () => (await all()).length >= 3, "the rules' executions");
    const last = (await ended(await run("core.noop"))).cursor;
    await request(server, fire, { trigger: "default.open" });
    await until(() => executions.seen.some(({ cursor }) => cursor === last), "the last of its executions");
    await until(
      () => events.seen.length >= 2 && new Set(enforcements.seen.map(({ eventId }) => eventId)).size >= 2,
      "both events",
    );
    for (const stream of [executions, events, enforcements, workers]) stream.drop();
    expect(new Set(executions.seen.map(({ actionRef }) => actionRef))).toEqual(new Set(["core.noop"]));
    expect(new Set(events.seen.map(({ triggerRef }) => triggerRef))).toEqual(new Set(["default.open"]));
    expect(new Set(enforcements.seen.map(({ ruleRef }) => ruleRef))).toEqual(new Set(["default.open"]));
    expect(workers.seen).toEqual([]);
    const upToLast = (list: readonly Change[]) => list.slice(0, list.findIndex(({ cursor }) => cursor === last) + 1);
    const polled = upToLast(await changes({}, after, narrowed));
    expect(polled.length).toBeGreaterThanOrEqual(10);
    expect(polled).toEqual(upToLast(await changes({ action: { eq: "core.noop" } }, after)));
    expect(await poll("workerChangedMessages", "name", { type: "WorkerChangedWhere", at: narrowed })).toEqual([]);
    expect(await changes({ traceTag: { eq: "walks" } }, null, narrowed)).toEqual([]);
  });
});

test("a notification leads to its entity, of any type, for sessions that may read it", async () => {
  const entities = async (channel: string, at: Caller = server) =>
    (
      await poll<{ cursor: string; entity: { __typename: string; id: string } | null }>(
        "notificationCreatedMessages",
        "entity { __typename id }",
        { type: "NotificationCreatedWhere", where: { channel: { eq: channel } }, at },
      )
    ).map(({ entity }) => entity?.__typename ?? null);
  expect(new Set(await entities("token"))).toContain("ApiToken");
  expect(new Set(await entities("worker"))).toEqual(new Set(["Worker"]));
  expect(new Set(await entities("rule"))).toEqual(new Set(["Rule"]));
  expect(await entities("rule", narrowed)).toEqual([]);
});

test("a filter by an id of another type, and a page that is too large, are refused", async () => {
  const refused = async (query: string) => await request(server, query).then(() => "accepted", String);
  const id = btoa("Rule:1");
  for (const field of [
    "executionsChangedMessages",
    "eventCreatedMessages",
    "enforcementChangedMessages",
    "workerChangedMessages",
  ]) {
    expect(await refused(`{ ${field}(where: {id: {eq: "${id}"}}) { cursor } }`)).toContain("BAD_USER_INPUT");
    expect(await refused(`{ ${field}(first: 101) { cursor } }`)).toContain("BAD_USER_INPUT");
  }
});
