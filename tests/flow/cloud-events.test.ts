import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type CloudEvent, HTTP, type Message } from "cloudevents";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

let server: RunningServer;
/** Keeps what it gets, and responds with the next of these statuses, else with 204. */
let receiver: Server;
const statuses: number[] = [];
const received: Message<string>[] = [];
let address = "";

beforeAll(async () => {
  receiver = createServer(async (incoming, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of incoming) pieces.push(piece);
    received.push({ headers: incoming.headers, body: Buffer.concat(pieces).toString() });
    response.writeHead(statuses.shift() ?? 204).end();
  }).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  address = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  server = await startInProcess(undefined, {
    ATTUNE__EXECUTOR__MAX_GENERATION: "3",
    ATTUNE__WORKER__HTTP_ALLOW: "127.0.0.1",
  });
  for (const name of ["hello", "order", "late"]) await createTrigger(name);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  receiver.close();
});

const createTrigger = (name: string) =>
  request(server, `mutation ($ref: String!) { createTrigger(input: {ref: $ref}) { ... on Error { message } } }`, {
    ref: `default.${name}`,
  });

/** Performs a mutation of the API that must succeed, and returns its payload. */
async function mutate(name: string, input: object, selection = "__typename"): Promise<Record<string, unknown>> {
  const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  const data = await request<Record<string, Record<string, unknown>>>(
    server,
    `mutation ($input: ${type}Input!) { ${name}(input: $input) { ... on ${type}Payload { ${selection} } ... on Error { message } } }`,
    { input },
  );
  expect(data[name]).not.toHaveProperty("message");
  return data[name] ?? {};
}

const emit = (trigger: string, payload: unknown) => mutate("createEvent", { trigger: `default.${trigger}`, payload });

/** Returns what the receiver has got since `from`, as the SDK reads it, as soon as there are so many messages. */
async function read(from: number, count = 1): Promise<CloudEvent<unknown>[]> {
  await until(() => received.length >= from + count, `${count} messages`);
  const events = received.slice(from).flatMap((message) => HTTP.toEvent<unknown>(message) as CloudEvent<unknown>[]);
  for (const event of events) expect(event.validate()).toBe(true);
  return events;
}

/** What the SDK's event is as JSON. */
const plain = (event: unknown) => JSON.parse(JSON.stringify(event));

interface Event {
  id: string;
  generation: number;
  skipped: string | null;
  payload: { body: Record<string, unknown> };
  cause: { id: string } | null;
}

async function eventsOf(name: string): Promise<Event[]> {
  const { events } = await request<{ events: { nodes: Event[] } }>(
    server,
    `query ($trigger: String!) { events(first: 20, where: {trigger: {eq: $trigger}}, orderBy: {field: CREATED, direction: ASC}) {
      nodes { id generation skipped payload cause { id } } } }`,
    { trigger: `default.${name}` },
  );
  return events.nodes;
}

/** Creates a trigger with a webhook that takes CloudEvents, and returns its URL. */
async function createHook(name: string): Promise<string> {
  await createTrigger(name);
  const { path } = await mutate("enableWebhook", { trigger: `default.${name}`, cloudEvents: true }, "path");
  return `${server.url}${String(path)}`;
}

const forward = (ref: string, trigger: string, actionParams: object) =>
  mutate("createRule", { ref: `default.${ref}`, trigger, action: "core.send_cloud_event", actionParams });

interface Ended {
  status: string;
  result: { data: { ids: string[] } } | null;
  error: { code: string; message: string } | null;
}

/** Executes the action, and returns the execution at its end. */
async function send(parameters: object): Promise<Ended> {
  const { execution } = (await mutate(
    "executeAction",
    { action: "core.send_cloud_event", parameters: { url: address, ...parameters } },
    "execution { id }",
  )) as { execution: { id: string } };
  return await until(async () => {
    const { node } = await request<{ node: Ended }>(
      server,
      "query ($id: ID!) { node(id: $id) { ... on Execution { status result error } } }",
      { id: execution.id },
    );
    return ["COMPLETED", "FAILED"].includes(node.status) ? node : null;
  }, "the end");
}

test("the rules of docs/cloud-events.md send what it says, which the SDK reads", async () => {
  const page = readFileSync("docs/cloud-events.md", "utf8");
  const documents = [...page.matchAll(/^```graphql\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);
  for (const text of documents) {
    const data = await request<Record<string, object>>(server, text.replaceAll("https://events.example.org/", address));
    expect(Object.values(data)).toEqual([{ rule: { ref: expect.stringMatching(/^default\./) } }]);
  }
  expect(documents).toHaveLength(3);
  const [, sent = ""] = /^```json sent\n(.*)$/m.exec(page) ?? [];
  await emit("hello", { name: "world" });
  await read(0);
  const [hello] = received.map(({ body }) => JSON.parse(String(body)));
  const { id, time, ...described } = JSON.parse(sent);
  expect(hello).toEqual({ ...described, id: expect.stringMatching(/^RXZlbnQ6/), time: expect.any(String) });
  expect(new Date(hello.time).getTime()).toBeGreaterThan(new Date(time).getTime());
  expect(id).toBe("RXZlbnQ6MQ==");
  expect(received[0]?.headers).toMatchObject({ "content-type": "application/cloudevents+json; charset=utf-8" });

  await emit("order", { lines: [{ article: "a" }, { article: "ü" }] });
  const lines = await read(1);
  expect(lines.map(plain)).toMatchObject(
    ["a", "ü"].map((article, at) => ({
      subject: article,
      data: { article },
      source: "/shop",
      id: expect.stringMatching(new RegExp(`^RXZlbnQ6.*\\.${at + 1}$`)),
    })),
  );

  await mutate("executeAction", { action: "core.fail", parameters: {} });
  const [ended] = (await read(2)).map(plain);
  expect(ended).toMatchObject({
    ...{ type: "attune.execution.failed", source: "/triggers/core.execution_ended" },
    ...{ subject: ended.data.execution, data: { action: "core.fail", status: "failed" } },
  });
  await mutate("deleteRule", { ref: "default.ended" });
});

describe.each(["structured", "binary", "batch"])("in the mode %s", (mode) => {
  test("an event is the same to a webhook of this server, with its cause, and sent again it is known", async () => {
    const hook = await createHook(`in_${mode}`);
    await createTrigger(`out_${mode}`);
    const attributes = {
      source: "https://attune.example.org/ü",
      type: "t",
      subject: 'a "b" %41 c\\d',
      time: "2026-01-31T12:00:00Z",
    };
    const extensions = { region: "eu", urgent: true, level: -3 };
    const content = { data: { text: "Zürich 日本", n: [1, null] }, datacontenttype: "application/vnd.x+json" };
    const url = { url: hook, mode };
    await forward(`out_${mode}`, `default.out_${mode}`, {
      ...url,
      ...attributes,
      extensions,
      event: content,
      id: "{{ event.payload.id }}",
    });
    await emit(`out_${mode}`, { id: `é ${mode}` });
    const stored = await until(async () => (await eventsOf(`in_${mode}`))[0], "the event");
    expect(stored).toMatchObject({ generation: 1, cause: { id: expect.any(String) } });
    const texts = Object.fromEntries(Object.entries(extensions).map(([name, value]) => [name, String(value)]));
    const expected = {
      specversion: "1.0",
      id: `é ${mode}`,
      ...attributes,
      ...content,
      ...(mode === "binary" ? texts : extensions),
    };
    expect(stored.payload.body).toEqual(expected);
    const again = await send({ ...url, ...attributes, ...content, id: `é ${mode}` });
    expect(again).toMatchObject({ status: "COMPLETED", result: { data: { status: 200, ids: [`é ${mode}`] } } });
    expect(await eventsOf(`in_${mode}`)).toHaveLength(1);
  });

  test("data that is text, bytes or not there is read by the SDK as it was", async () => {
    const event = { source: "/s", type: "t", mode };
    const contents = [
      { datacontenttype: "text/plain", data: "Zürich" },
      { datacontenttype: "application/octet-stream", data_base64: "AP8=" },
      { data: "a text" },
      { data: null },
      {},
    ];
    for (const content of contents) {
      const from = received.length;
      const { status, error } = await send({ ...event, ...content });
      expect([content, status, error]).toEqual([content, "COMPLETED", null]);
      // The SDK reads a body as text: bytes are compared by the webhook below.
      if ("data_base64" in content && mode === "binary") continue;
      const [got] = (await read(from)).map(plain);
      expect(got).toMatchObject(
        "data_base64" in content ? { data_base64: content.data_base64 } : content.data == null ? {} : content,
      );
    }
    const hook = await createHook(`bytes_${mode}`);
    await send({ ...event, url: hook, datacontenttype: "image/png", data_base64: "AP8=" });
    expect((await eventsOf(`bytes_${mode}`))[0]?.payload.body).toMatchObject({ data_base64: "AP8=" });
  });

  test("a rule that sends to the webhook whose events it matches is stopped", async () => {
    const hook = await createHook(`loop_${mode}`);
    await forward(`loop_${mode}`, `default.loop_${mode}`, {
      url: hook,
      mode,
      event: "{{ event.payload.body }}",
      id: "{{ event.id }}",
    });
    const first = { specversion: "1.0", id: "1", source: "/loop", type: "round" };
    await fetch(hook, {
      ...{ method: "POST", body: JSON.stringify(first) },
      headers: { "content-type": "application/cloudevents+json" },
    });
    const events = await until(async () => {
      const found = await eventsOf(`loop_${mode}`);
      return found.some(({ skipped }) => skipped !== null) && found;
    }, "the stop of the loop");
    if (!events) throw new Error("there are no events");
    expect(events.map(({ generation }) => generation)).toEqual([0, 1, 2, 3, 4]);
    expect(events.map(({ payload }) => payload.body["source"])).toEqual(Array(5).fill("/loop"));
  });
});

test("a retry sends the same id, and the trace goes along", async () => {
  const action = "default.notify";
  const paramSchema = { url: { type: "string", takes_secrets: true } };
  const retry = { max: 1, delay: 0 };
  const runtime = { runtime: "core.action.builtin", entrypoint: "core.send_cloud_event" };
  await mutate("createAction", { ref: action, ...runtime, paramSchema, retry });
  await mutate("createRule", {
    ref: "default.retried",
    trigger: "default.late",
    action,
    actionParams: { url: address },
  });
  const { path } = await mutate("enableWebhook", { trigger: "default.late" }, "path");
  const from = received.length;
  statuses.push(503);
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  await fetch(`${server.url}${path}`, {
    ...{ method: "POST", body: "{}" },
    headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
  });
  const [first, second] = (await read(from, 2)).map(plain);
  expect(first).toMatchObject({
    ...{ source: "/triggers/default.late", type: "default.late", traceparent: expect.stringContaining(traceId) },
    id: expect.stringMatching(/^RW5mb3JjZW1lbnQ6/),
  });
  expect(second.id).toBe(first.id);
});

test.each<[string, object, RegExp]>([
  ["no source and no type without a rule", {}, /source: is missing.*type: is missing/s],
  ["a wrong time", { source: "/s", type: "t", time: "yesterday" }, /^time: must be a time/],
  [
    "an extension with a capital",
    { source: "/s", type: "t", extensions: { Region: "eu" } },
    /lower-case letters and digits/,
  ],
  ["an extension that is an object", { source: "/s", type: "t", extensions: { more: {} } }, /^more: must be a text/],
  [
    "data twice",
    { source: "/s", type: "t", event: { data: 1, data_base64: "AA==" }, extensions: { data_base64: "AA==" } },
    /./,
  ],
  [
    "an object of plain text",
    { source: "/s", type: "t", datacontenttype: "text/plain", data: {} },
    /^data: must be a text, or else data_base64, because its type is text\/plain/,
  ],
  ["events in another mode than batch", { source: "/s", type: "t", events: [] }, /^events: are for the mode "batch"/],
  ["a wrong event of a batch", { type: "t", source: "/s", mode: "batch", events: [{}, { id: 5 }] }, /^events\.1\.id: /],
])("what is no CloudEvent is not sent: %s", async (_name, parameters, message) => {
  const from = received.length;
  const { status, error } = await send(parameters);
  expect([status, error?.code, error?.message]).toEqual(["FAILED", "INVALID_EVENT", expect.stringMatching(message)]);
  expect(received.length).toBe(from);
});
