import { randomUUID } from "node:crypto";
import { createClient } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { overEvents, overSocket, type Stream } from "../support/client.ts";
import { openEvents } from "../support/events.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const transports = [
  ["graphql-ws", overSocket],
  ["server-sent events", overEvents],
] as const;

const execute = `mutation ($action: String!, $parameters: JSONObject) {
  executeAction(input: {action: $action, parameters: $parameters}) {
    ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`;
const logs = `subscription ($id: ID!, $after: Cursor) { executionLog(id: $id, after: $after) { cursor seq stream text } }`;
const statuses = `subscription ($after: Cursor) { executionStatus(after: $after) { cursor executionId toStatus } }`;
const changes = `subscription ($after: Cursor) {
  notificationCreated(where: {channel: {eq: "rule"}}, after: $after) { cursor occurredAt channel entityType activity content packRef } }`;
const viewer = "{ viewer { identity { login } } }";

interface Output {
  cursor: string;
  seq: string;
  stream: string;
  text: string;
}

interface Errors {
  message: string;
  extensions: { code: string; oldestCursor?: string };
}

let server: RunningServer;

beforeAll(async () => {
  server = await startInProcess(undefined, {
    ATTUNE__DATABASE__LOG_STATEMENTS: "true",
    ATTUNE__LOG__LEVEL: "info",
    ATTUNE__LOG__FORMAT: "json",
  });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

async function run(action: string, parameters: object = {}): Promise<string> {
  const result = await request<{ executeAction: { execution: { id: string } } }>(server, execute, {
    action,
    parameters,
  });
  return result.executeAction.execution.id;
}

/** Returns the cursor after all messages so far. */
async function lastCursor(): Promise<string> {
  const id = await run("core.noop");
  const last = `query ($id: ID!) { executionStatusMessages(where: {id: {eq: $id}}, first: 100) { cursor toStatus } }`;
  const found = await until(async () => {
    const result = await request<{ executionStatusMessages: { cursor: string; toStatus: string }[] }>(server, last, {
      id,
    });
    return result.executionStatusMessages.find(({ toStatus }) => toStatus === "COMPLETED");
  }, "the end of core.noop");
  return found.cursor;
}

/** Returns the only error that a stream ends with. */
async function errorOf(stream: Stream<unknown>): Promise<Errors> {
  await stream.ended;
  const errors = stream.error();
  expect(errors).toEqual([expect.anything()]);
  return (errors as [Errors])[0];
}

describe.each(transports)("over %s", (_name, subscribe) => {
  test("notificationCreated delivers each change of a rule once, in order", async () => {
    const after = await lastCursor();
    const stream = subscribe<{ cursor: string; activity: string }>(server, { query: changes, variables: { after } });
    const ref = `default.changed_${randomUUID().slice(0, 8)}`;
    await request(
      server,
      `mutation ($ref: String!) {
        createRule(input: {ref: $ref, trigger: "core.intervaltimer", action: "core.noop", triggerParams: {unit: "hours", interval: 1}}) {
          __typename ... on Error { message } }
        disableRule(input: {ref: $ref}) { __typename }
        deleteRule(input: {ref: $ref}) { __typename } }`,
      { ref },
    );
    await until(() => stream.seen.length >= 3, "three messages");
    stream.drop();
    expect(stream.seen.map(({ activity }) => activity)).toEqual(["created", "updated", "deleted"]);
    expect(stream.seen[0]).toMatchObject({
      channel: "rule",
      entityType: "rule",
      packRef: "default",
      content: { ref },
      occurredAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
  });

  test("a deletion is delivered: as its last state, and as having left a collection", async () => {
    const after = await lastCursor();
    const follow = (query: string) => subscribe<Record<string, unknown>>(server, { query, variables: { after } });
    const gone =
      follow(`subscription ($after: Cursor) { executionsChanged(after: $after, where: {action: {eq: "core.echo"}}) {
      change executionId toStatus } }`);
    const steps =
      follow(`subscription ($after: Cursor) { executionStatus(after: $after, where: {action: {eq: "core.echo"}}) {
      executionId toStatus } }`);
    const log =
      follow(`subscription ($after: Cursor) { notificationCreated(after: $after, where: {activity: {eq: "deleted"}}) {
      channel entityId activity } }`);
    const id = await run("core.echo", { message: "x" });
    await until(() => gone.seen.some(({ toStatus }) => toStatus === "COMPLETED"), "the end of core.echo");
    await request(
      server,
      "mutation ($id: ID!) { deleteExecution(input: {id: $id}) { __typename ... on Error { message } } }",
      {
        id,
      },
    );
    await until(() => log.seen.length > 0, "the deletion");
    await until(() => gone.seen.at(-1)?.["change"] === "LEFT", "the execution left the collection");
    expect(log.seen).toEqual([{ channel: "execution", entityId: id, activity: "deleted" }]);
    expect(gone.seen.at(-1)).toEqual({ change: "LEFT", executionId: id, toStatus: "COMPLETED" });
    for (const stream of [gone, steps, log]) stream.drop();
    expect(steps.seen.filter(({ toStatus }) => toStatus === "COMPLETED")).toHaveLength(1);
  });

  test("a role that an identity gets changes the identity, and a trigger is followed like a rule", async () => {
    const after = await lastCursor();
    const name = `u${randomUUID().slice(0, 8)}`;
    const stream = subscribe<Record<string, unknown>>(server, {
      query: `subscription ($after: Cursor) { notificationCreated(after: $after, where: {channel: {in: ["identity", "trigger"]}}) {
        channel activity content entity { __typename } } }`,
      variables: { after },
    });
    await request(
      server,
      `mutation ($name: String!, $trigger: String!) {
        createIdentity(input: {login: $name}) { __typename ... on Error { message } }
        assignRole(input: {login: $name, role: "on_call"}) { __typename ... on Error { message } }
        createTrigger(input: {ref: $trigger}) { __typename ... on Error { message } }
        deleteTrigger(input: {ref: $trigger}) { __typename ... on Error { message } } }`,
      { name, trigger: `default.${name}` },
    );
    await until(() => stream.seen.some(({ activity }) => activity === "deleted"), "the deletion of the trigger");
    stream.drop();
    const brief = stream.seen.map(
      ({ channel, activity, content }) => `${channel} ${activity} ${(content as { ref: string }).ref}`,
    );
    expect(brief).toEqual([
      `identity created ${name}`,
      `identity updated ${name}`,
      `trigger created default.${name}`,
      `trigger deleted default.${name}`,
    ]);
    expect(stream.seen[0]?.["entity"]).toEqual({ __typename: "Identity" });
  });

  test("a transition names the worker once there is one", async () => {
    const after = await lastCursor();
    const stream = subscribe<{ toStatus: string; workerId: string | null }>(server, {
      query: "subscription ($after: Cursor) { executionStatus(after: $after) { toStatus workerId } }",
      variables: { after },
    });
    await run("core.noop");
    await until(() => stream.seen.some(({ toStatus }) => toStatus === "COMPLETED"), "the end of core.noop");
    stream.drop();
    const { workers } = await request<{ workers: { nodes: { id: string }[] } }>(
      server,
      "{ workers(where: {status: {in: [ACTIVE, BUSY]}}) { nodes { id } } }",
    );
    const named = stream.seen.map(({ toStatus, workerId }) => [toStatus, workerId]);
    const worker = workers.nodes[0]?.id;
    expect(named).toEqual([
      ...["REQUESTED", "SCHEDULING", "SCHEDULED"].map((status) => [status, null]),
      ...["RUNNING", "COMPLETED"].map((status) => [status, worker]),
    ]);
  });

  test("the objects of messages that follow one another are loaded together, as they are now", async () => {
    const after = await lastCursor();
    const ids = await Promise.all(Array.from({ length: 10 }, () => run("core.noop")));
    const ended = () =>
      request<{ executions: { nodes: { id: string; status: string }[] } }>(
        server,
        "{ executions(first: 50) { nodes { id status } } }",
      );
    await until(
      async () =>
        (await ended()).executions.nodes.filter(({ id, status }) => ids.includes(id) && status === "COMPLETED")
          .length === 10,
      "the ends of ten executions",
    );
    const statements = () =>
      server
        .output()
        .split("\n")
        .filter((line) => /"sql":.*\\"attune\\"\.\\"execution\\"/.test(line)).length;
    const before = statements();
    const stream = subscribe<{ executionId: string; execution: { id: string; status: string } }>(server, {
      query: "subscription ($after: Cursor) { executionStatus(after: $after) { executionId execution { id status } } }",
      variables: { after },
    });
    await until(() => stream.seen.length >= 50, "five transitions of each");
    stream.drop();
    expect(stream.seen.map(({ execution }) => execution.id)).toEqual(stream.seen.map(({ executionId }) => executionId));
    expect(new Set(stream.seen.map(({ execution }) => execution.status))).toEqual(new Set(["COMPLETED"]));
    expect(statements() - before).toBeGreaterThan(0);
    expect(statements() - before).toBeLessThan(10);
  });

  test("executionLog delivers each line while the action runs, resumes after a cursor, and completes with the action", async () => {
    const id = await run("core.shell", { command: "for i in 1 2 3; do echo $i; sleep 0.4; done" });
    const stream = subscribe<Output>(server, { query: logs, variables: { id } });
    await until(() => stream.seen.length > 0, "the first line");
    expect(stream.seen.map(({ text }) => text).join("")).not.toContain("3");
    stream.drop();
    await stream.ended;
    const before = stream.seen.slice();
    const rest = subscribe<Output>(server, { query: logs, variables: { id, after: before.at(-1)?.cursor } });
    await rest.ended; // without being dropped
    expect(rest.error()).toBeNull();
    const all = [...before, ...rest.seen].filter(({ stream: name }) => name === "STDOUT");
    expect(all.map(({ text }) => text).join("")).toBe("1\n2\n3\n");
    expect(all.length).toBeGreaterThan(1);
    const numbers = [...before, ...rest.seen].map(({ seq }) => Number(seq));
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  });

  test("executionLogMessages polls what executionLog sends, page by page", async () => {
    const id = await run("core.shell", { command: "for i in 1 2 3; do echo $i; sleep 0.3; done" });
    const stream = subscribe<Output>(server, { query: logs, variables: { id } });
    await stream.ended;
    const polled: Output[] = [];
    for (let after: string | null = null; ; after = polled.at(-1)?.cursor ?? null) {
      const query = `query ($id: ID!, $after: Cursor) {
        executionLogMessages(id: $id, after: $after, first: 2) { cursor seq stream text } }`;
      const result: { executionLogMessages: Output[] } = await request(server, query, { id, after });
      expect(result.executionLogMessages.length).toBeLessThanOrEqual(2);
      if (result.executionLogMessages.length === 0) break;
      polled.push(...result.executionLogMessages);
    }
    expect(polled.length).toBeGreaterThan(2);
    expect(polled).toEqual(stream.seen);
  });

  test("executionLog of an ended execution delivers the whole log and completes", async () => {
    const id = await run("core.echo", { message: "read late" });
    await subscribe(server, { query: logs, variables: { id } }).ended;
    const stream = subscribe<Output>(server, { query: logs, variables: { id } });
    await stream.ended;
    expect(stream.error()).toBeNull();
    expect(stream.seen.map(({ text }) => text).join("")).toContain("read late");
  });

  test.each([
    ["executionStatus", statuses, {}],
    ["executionLog", logs, { id: "RXhlY3V0aW9uOjE=" }],
    ["notificationCreated", changes, {}],
  ])("%s without a credential ends with UNAUTHENTICATED", async (_field, query, variables) => {
    const stream = subscribe({ ...server, token: "att_api_guessed" }, { query, variables });
    expect(await errorOf(stream)).toMatchObject({ extensions: { code: "UNAUTHENTICATED" } });
    expect(stream.seen.filter((message) => message !== null)).toEqual([]);
  });

  test("an invalid cursor gets BAD_USER_INPUT, a missing execution NOT_FOUND", async () => {
    for (const query of [statuses, changes]) {
      const error = await errorOf(subscribe(server, { query, variables: { after: "yesterday" } }));
      expect(error).toMatchObject({
        message: expect.stringContaining("yesterday"),
        extensions: { code: "BAD_USER_INPUT" },
      });
    }
    const variables = { id: await run("core.noop"), after: "-1" };
    expect(await errorOf(subscribe(server, { query: logs, variables }))).toMatchObject({
      extensions: { code: "BAD_USER_INPUT" },
    });
    const unknown = { id: Buffer.from("Execution:999999999").toString("base64") };
    expect(await errorOf(subscribe(server, { query: logs, variables: unknown }))).toMatchObject({
      extensions: { code: "NOT_FOUND" },
    });
  });

  test("a cursor from before a restore gets CURSOR_EXPIRED with a valid cursor", async () => {
    const restored = (await lastCursor()).replace(/^\w{12}/, "0123456789ab");
    const error = await errorOf(subscribe(server, { query: statuses, variables: { after: restored } }));
    expect(error.extensions).toMatchObject({ code: "CURSOR_EXPIRED", oldestCursor: expect.any(String) });
    const after = error.extensions.oldestCursor;
    const stream = subscribe<{ toStatus: string }>(server, { query: statuses, variables: { after } });
    await until(() => stream.seen.length > 0, "a message");
    stream.drop();
    expect(stream.seen[0]).toMatchObject({ toStatus: "REQUESTED" });
  });
});

test("an event stream has each message's cursor as its id, and resumes after Last-Event-ID", async () => {
  const query = statuses;
  const first = await openEvents(server, { query, variables: { after: await lastCursor() } });
  const id = await run("core.noop");
  await until(() => first.seen.length >= 2, "two messages");
  first.abort();
  await first.ended;
  const cursorOf = ({ data }: { data: string }) => JSON.parse(data).data.executionStatus;
  expect(first.seen[0]).toMatchObject({ event: "next", id: cursorOf(first.seen[0] ?? { data: "" }).cursor });
  // A browser repeats the variables of the first request: the header takes precedence.
  const resumed = await openEvents(
    server,
    { query, variables: { after: "1.2.3" } },
    { "last-event-id": first.seen[0]?.id ?? "" },
  );
  await until(() => resumed.seen.length >= 4, "the other messages");
  resumed.abort();
  expect([first.seen[0], ...resumed.seen].map((each) => each && cursorOf(each))).toMatchObject(
    ["REQUESTED", "SCHEDULING", "SCHEDULED", "RUNNING", "COMPLETED"].map((toStatus) => ({ executionId: id, toStatus })),
  );
});

test("an event stream opens with the id after which it begins, so that it resumes even without a message", async () => {
  const opened = async (query: string, headers: Record<string, string> = {}) => {
    const aborting = new AbortController();
    const response = await fetch(`${server.url}/graphql`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "text/event-stream",
        authorization: `Bearer ${server.token}`,
        ...headers,
      },
      body: JSON.stringify({ query }),
      signal: aborting.signal,
    });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    await until(async () => {
      text += (await reader?.read())?.value ?? "";
      return text.includes(":\n\n") && (headers["last-event-id"] === undefined || text.includes("event: next"));
    }, "the opening");
    aborting.abort();
    return text;
  };
  const query = "subscription { executionStatus { cursor executionId toStatus } }";
  const [, id = ""] = /^id: (\S+)\n\n:/.exec(await opened(query)) ?? [];
  const execution = await run("core.noop");
  const resumed = await opened(query, { "last-event-id": id });
  expect(resumed).toMatch(new RegExp(`^id: ${id}\n\n:\n\nevent: next\n`));
  expect(resumed).toContain(`"executionId":"${execution}","toStatus":"REQUESTED"`);
  const output = await opened(`subscription { executionLog(id: "${execution}") { cursor } }`);
  expect(output).toMatch(/^id: 0\n\n/);
});

test("a list and what follows its cursor are the whole, whenever the list is read", async () => {
  const query = `{ cursor executions(first: 100, orderBy: {field: CREATED, direction: DESC}) { nodes { id status } } }`;
  let over = false;
  const runs = Array.from({ length: 4 }, async () => {
    while (!over) await run("core.noop");
  });
  const counter = overSocket(server, { query: "subscription { executionStatus { cursor } }" });
  const readers = Array.from({ length: 12 }, async (_, index) => {
    await until(() => counter.seen.length >= index * 3, "more transitions");
    const { cursor, executions } = await request<{
      cursor: string;
      executions: { nodes: { id: string; status: string }[] };
    }>(server, query);
    const stream = overSocket<{ executionId: string; toStatus: string }>(server, {
      query: `subscription ($after: Cursor) { executionStatus(after: $after) { cursor executionId toStatus } }`,
      variables: { after: cursor },
    });
    return { listed: new Map(executions.nodes.map(({ id, status }) => [id, status])), stream };
  });
  const started = await Promise.all(readers);
  over = true;
  await Promise.all(runs);
  const last = await run("core.noop");
  for (const { listed, stream } of started) {
    const isEnded = ({ executionId, toStatus }: { executionId: string; toStatus: string }) =>
      executionId === last && toStatus === "COMPLETED";
    await until(() => stream.seen.some(isEnded), "the last message");
    for (const { executionId, toStatus } of stream.seen) listed.set(executionId, toStatus);
    // Every execution that it knows has ended, so no transition was missed.
    expect([...new Set(listed.values())]).toEqual(["COMPLETED"]);
    stream.drop();
  }
  counter.drop();
});

test("reading stops when a subscriber completes, is cut off or disconnects", async () => {
  // A follower of a growing log reads it at each step: its statement shows that it runs.
  const steps = () => server.output().split("from attune.execution e left join lateral").length - 1;
  const id = await run("core.shell", { command: "while sleep 0.05; do echo again; done" });
  const operation = { query: logs, variables: { id } };
  const client = createClient({
    url: `${server.url.replace("http", "ws")}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${server.token}` },
    lazy: false,
  });
  const completed: unknown[] = [];
  const complete = client.subscribe(operation, {
    next: (message) => completed.push(message),
    error() {},
    complete() {},
  });
  const cut = overSocket<Output>(server, operation);
  const aborted = await openEvents(server, operation);
  await until(
    () => completed.length > 3 && cut.seen.length > 3 && aborted.seen.length > 3,
    "every subscriber's messages",
  );
  expect(steps()).toBeGreaterThan(9);
  complete(); // the socket stays
  cut.drop();
  aborted.abort();
  const written = async () => {
    const query = `query ($id: ID!) { execution(id: $id) { logs { totalCount { count } } } }`;
    return (await request<{ execution: { logs: { totalCount: { count: number } } } }>(server, query, { id })).execution
      .logs.totalCount.count;
  };
  await until(
    async () => {
      const [read, count] = [steps(), await written()];
      await until(async () => (await written()) > count + 2, "more output");
      return steps() === read;
    },
    "the end of reading",
    1500,
  );
  await client.dispose();
  await request(server, `mutation ($id: ID!) { cancelExecution(input: {id: $id}) { __typename } }`, { id });
  const end = overEvents(server, operation);
  await end.ended;
});

describe("a page on another site", () => {
  const cookie = () => `attune_session=${server.token}`;

  const post = (headers: Record<string, string>) =>
    fetch(`${server.url}/graphql`, {
      method: "POST",
      headers: { cookie: cookie(), "content-type": "application/json", ...headers },
      body: JSON.stringify({ query: viewer }),
    });

  test("cannot use the cookie for a request", async () => {
    const codeOf = async (response: Response) =>
      ((await response.json()) as { errors?: [Errors] }).errors?.[0].extensions.code;
    for (const origin of ["https://elsewhere.example", server.url.replace("127.0.0.1", "localhost"), "null"]) {
      expect([origin, await codeOf(await post({ origin }))]).toEqual([origin, "UNAUTHENTICATED"]);
    }
    expect(await codeOf(await post({}))).toBe("UNAUTHENTICATED"); // no header names the page's origin
    expect(await codeOf(await post({ origin: server.url }))).toBeUndefined();
  });

  test("cannot use requests that need no preflight", async () => {
    const form = new URLSearchParams({ query: viewer });
    const response = await fetch(`${server.url}/graphql`, {
      method: "POST",
      headers: { cookie: cookie(), origin: server.url },
      body: form,
    });
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: "UNAUTHENTICATED" } }] });
  });

  test("cannot use the cookie on a socket", async () => {
    const open = (origin: string) => {
      class Browser extends WebSocket {
        constructor(url: string, protocols: string) {
          super(url, protocols, { origin, headers: { cookie: cookie() } });
        }
      }
      const client = createClient({
        url: `${server.url.replace("http", "ws")}/graphql`,
        webSocketImpl: Browser,
        retryAttempts: 0,
      });
      return new Promise((resolve, reject) => {
        client.subscribe({ query: viewer }, { next: resolve, error: reject, complete() {} });
      }).finally(() => client.dispose());
    };
    await expect(open("https://elsewhere.example")).rejects.toThrow("403");
    expect(await open(server.url)).toMatchObject({ data: { viewer: { identity: { login: "admin" } } } });
  });

  test("cannot change anything with a link", async () => {
    const address = new URL("/graphql", server.url);
    address.searchParams.set("query", `mutation { deleteRule(input: {ref: "default.none"}) { __typename } }`);
    const response = await fetch(address, { headers: { cookie: cookie(), accept: "application/json" } });
    expect(response.status).toBe(405);
    expect(await response.json()).toMatchObject({ errors: [{ message: expect.stringContaining("POST") }] });
  });
});
