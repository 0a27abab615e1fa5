import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { type RunningServer, request, startInProcess } from "../support/server.ts";

let server: RunningServer;
let hook: string;

beforeAll(async () => {
  server = await startInProcess();
  const made = await request<{ enableWebhook: { path: string } }>(
    server,
    `mutation { createTrigger(input: {ref: "default.value"}) { __typename }
      enableWebhook(input: {trigger: "default.value"}) { ... on EnableWebhookPayload { path } } }`,
  );
  hook = made.enableWebhook.path;
});
afterAll(() => server[Symbol.asyncDispose]());

interface Outcome {
  /** The id of the event that was created; null when it was refused. */
  event: string | null;
  refusal: string;
}

const headers = () => ({ "content-type": "application/json", authorization: `Bearer ${server.token}` });

/** Reads the text of a GraphQL response, which has no numbers of its own that could be changed. */
function outcomeOf(text: string): Outcome {
  const event = /"id":"([^"]+)"/.exec(text)?.[1] ?? null;
  return { event, refusal: event === null ? text : "" };
}

const mutation = (payload: string, declared = "") => `mutation${declared} {
  createEvent(input: {trigger: "default.value", payload: {body: ${payload}}}) {
    ... on CreateEventPayload { event { id } } ... on Error { message } ... on InvalidInputError { issues { path message } } } }`;

/** Every road by which a value enters, given as JSON text. */
const roads: Record<string, (value: string) => Promise<Outcome>> = {
  webhook: async (value) => {
    const response = await fetch(`${server.url}${hook}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: value,
    });
    const body = (await response.json()) as { event?: string; error?: string };
    expect([202, 400]).toContain(response.status);
    return { event: body.event ?? null, refusal: body.error ?? "" };
  },
  variable: async (value) => {
    const query = JSON.stringify(mutation("$value", "($value: JSON)"));
    const body = `{"query": ${query}, "variables": {"value": ${value}}}`;
    const response = await fetch(`${server.url}/graphql`, { method: "POST", headers: headers(), body });
    return outcomeOf(await response.text());
  },
  literal: async (value) => {
    const query = mutation(value.replace(/"(\w+)":/g, "$1:"));
    const response = await fetch(`${server.url}/graphql`, {
      method: "POST",
      headers: headers(),
      body: JSON.stringify({ query }),
    });
    return outcomeOf(await response.text());
  },
  socket: (value) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`${server.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
      socket.on("error", reject);
      socket.on("close", (code, reason) => resolve({ event: null, refusal: `${code} ${reason}` }));
      socket.on("open", () =>
        socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${server.token}` } })),
      );
      socket.on("message", (data) => {
        const text = String(data);
        if (text.includes("connection_ack")) {
          const query = JSON.stringify(mutation("$value", "($value: JSON)"));
          socket.send(
            `{"id": "1", "type": "subscribe", "payload": {"query": ${query}, "variables": {"value": ${value}}}}`,
          );
          return;
        }
        resolve(outcomeOf(text.replace('"id":"1",', "")));
        socket.close();
      });
    }),
};

async function storedText(event: string): Promise<string> {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: headers(),
    body: JSON.stringify({ query: "query ($id: ID!) { event(id: $id) { payload } }", variables: { id: event } }),
  });
  return await response.text();
}

const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

describe.each(Object.keys(roads))("a value that enters by %s", (road) => {
  const enter = roads[road] as (typeof roads)[string];

  test.each(["9007199254740991", "[-9007199254740992,0.5,1.5e+300]", '{"a":{"b":["12345678901234567890",null,true]}}'])(
    "%s is stored and returned as it is",
    async (value) => {
      const { event, refusal } = await enter(value);
      expect(refusal).toBe("");
      expect(await storedText(event ?? "")).toContain(`"body":${value}`);
    },
  );

  test.each([
    ["12345678901234567890", /12345678901234567890 would lose digits/],
    ['{"a":[1,{"b":9007199254740993}]}', /a\.1\.b.*9007199254740993 would lose digits/],
    ["1e9999", /1e9999 is too large/],
  ])("%s is refused with its place", async (value, reason) => {
    const { event, refusal } = await enter(value);
    expect(event).toBeNull();
    expect(refusal).toMatch(reason);
    expect(refusal).not.toContain("INTERNAL");
  });

  test.each([1000, 20_000])("with %i levels is refused", async (depth) => {
    const { event, refusal } = await enter(nested(depth));
    expect(event).toBeNull();
    expect(refusal).toMatch(/levels|The operation|invalid JSON|4400 Invalid message/);
    expect(refusal).not.toContain("INTERNAL");
  });
});

test("a variable that is missing inside a JSON literal is absent; in a list it is null", async () => {
  const { createEvent } = await request<{ createEvent: { event: { payload: unknown } } }>(
    server,
    `mutation ($missing: JSON, $given: JSON) { createEvent(input: {trigger: "default.value",
      payload: {missing: $missing, given: $given, list: [$missing]}}) { ... on CreateEventPayload { event { payload } } } }`,
    { given: null },
  );
  expect(createEvent.event.payload).toEqual({ given: null, list: [null] });
});

test.each([
  "2026-02-30T00:00:00Z",
  "2025-02-29T12:00:00Z",
  "2026-04-31T00:00:00+02:00",
  "2026-13-01T00:00:00Z",
  "2026-00-10T00:00:00Z",
])("%s, which does not exist, is refused", async (date) => {
  const asked = request(
    server,
    `query ($date: DateTime!) { events(where: {created: {gte: $date}}) { nodes { id } } }`,
    { date },
  );
  await expect(asked).rejects.toThrow(/is not a point in time/);
});
