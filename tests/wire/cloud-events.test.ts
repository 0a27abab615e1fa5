import { createHmac } from "node:crypto";
import { CloudEvent, HTTP, type Message } from "cloudevents";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, request, startInProcess } from "../support/server.ts";

let server: RunningServer;
const hooks: Record<string, string> = {};
const secret = "a secret of the hook";

beforeAll(async () => {
  server = await startInProcess();
  const settings: [string, object][] = [
    ["clouds", { cloudEvents: true }],
    ["signed", { cloudEvents: true, hmac: { secret, scheme: "BODY" } }],
    ["limited", { rateLimit: { requests: 3, seconds: 3600 } }],
    ["slow", { cloudEvents: true, rateLimit: { requests: 10, seconds: 60 } }],
    ["elsewhere", { allow: ["192.0.2.0/24", "2001:db8::/32"] }],
    ["here", { allow: ["10.0.0.0/8", "127.0.0.1", "::1"] }],
    ["meta", { hmac: { secret, scheme: "META" }, verifyToken: "meta knows this" }],
    ["slack", { hmac: { secret, scheme: "SLACK" } }],
  ];
  for (const [name, input] of settings) {
    const { enableWebhook } = await request<{ enableWebhook: { path: string } }>(
      server,
      `mutation ($ref: String!, $input: EnableWebhookInput!) { createTrigger(input: {ref: $ref}) { __typename }
        enableWebhook(input: $input) { ... on EnableWebhookPayload { path } ... on Error { message } } }`,
      { ref: `default.${name}`, input: { trigger: `default.${name}`, ...input } },
    );
    hooks[name] = enableWebhook.path;
  }
});
afterAll(() => server[Symbol.asyncDispose]());

interface Response {
  status: number;
  event?: string;
  events?: string[];
  error?: string;
  challenge?: string;
}

async function post(name: string, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<Response> {
  const response = await fetch(`${server.url}${hooks[name]}`, { method: "POST", body: Buffer.from(body), headers });
  return { status: response.status, ...((await response.json()) as object) };
}

const send = (name: string, { headers, body }: Message) =>
  post(name, body as string | Uint8Array, headers as Record<string, string>);

async function bodyOf(id: string | undefined): Promise<Record<string, unknown>> {
  const { node } = await request<{ node: { payload: { body: Record<string, unknown> } } }>(
    server,
    `query ($id: ID!) { node(id: $id) { ... on Event { payload } } }`,
    { id },
  );
  return node.payload.body;
}

const structured = { "content-type": "application/cloudevents+json" };
const batch = { "content-type": "application/cloudevents-batch+json" };
const event = { specversion: "1.0", id: "1", source: "/shop", type: "order.paid" };

describe("CloudEvents", () => {
  test.each([
    ["binary", HTTP.binary],
    ["structured", HTTP.structured],
  ] as const)("that the SDK sends in the %s mode have the same body, which the SDK reads", async (mode, encode) => {
    const sent = new CloudEvent({
      ...{ id: `sdk-${mode}`, source: "https://example.org/shop", type: "order.paid", subject: "order 7" },
      ...{ time: "2026-01-31T12:00:00.000Z", dataschema: "https://example.org/schema", region: "eu" },
      ...{ datacontenttype: "application/json", data: { total: 7, name: "Zürich" } },
    });
    const response = await send("clouds", encode(sent));
    expect(response).toEqual({ status: 202, event: expect.any(String) });
    const body = await bodyOf(response.event);
    expect(body).toEqual(JSON.parse(JSON.stringify(sent)));
    const read = HTTP.toEvent({ headers: structured, body: JSON.stringify(body) });
    expect(JSON.parse(JSON.stringify(read))).toEqual(body);
  });

  test("have their attributes decoded, and their data as text, as JSON or in base64", async () => {
    const cases: [Record<string, string>, string | Uint8Array, object][] = [
      [
        { "ce-subject": "Z%C3%BCrich%20%22a%22", "content-type": "text/plain" },
        "plain",
        { subject: 'Zürich "a"', data: "plain" },
      ],
      [
        { "ce-subject": '"a \\"b\\""', "content-type": "application/vnd.x+json" },
        "[1]",
        { subject: 'a "b"', data: [1] },
      ],
      [{ "content-type": "image/png" }, Uint8Array.of(0, 255), { data_base64: "AP8=" }],
    ];
    for (const [at, [headers, body, expected]] of cases.entries()) {
      const attributes = { "ce-specversion": "1.0", "ce-id": `binary-${at}`, "ce-source": "/s", "ce-type": "t" };
      const { status, event: id } = await post("clouds", body, { ...attributes, ...headers });
      expect([at, status]).toEqual([at, 202]);
      expect(await bodyOf(id)).toMatchObject(expected);
    }
    const encoded = {
      ...event,
      id: "encoded",
      datacontenttype: "application/json",
      data_base64: "eyJhIjoxfQ==",
      subject: null,
    };
    const { event: id } = await post("clouds", JSON.stringify(encoded), structured);
    expect(await bodyOf(id)).toEqual({ ...event, id: "encoded", datacontenttype: "application/json", data: { a: 1 } });
  });

  test("are known by source and id", async () => {
    const first = await post("clouds", JSON.stringify({ ...event, id: "again" }), structured);
    const again = await post("clouds", JSON.stringify({ ...event, id: "again", data: 2 }), structured);
    expect(again).toEqual({ status: 200, event: first.event });
    const other = await post("clouds", JSON.stringify({ ...event, id: "again", source: "/other" }), structured);
    expect(other.status).toBe(202);
  });

  test("of a batch are stored together, the repeated ones once", async () => {
    const named = (...ids: string[]) => JSON.stringify(ids.map((id) => ({ ...event, id: `batch-${id}` })));
    const first = await post("clouds", named("b", "a", "b"), batch);
    expect(first).toEqual({ status: 202, events: [expect.any(String), expect.any(String), expect.any(String)] });
    expect(first.events?.[2]).toBe(first.events?.[0]);
    const [b, a] = first.events ?? [];
    expect((await bodyOf(b))["id"]).toBe("batch-b");
    const more = await post("clouds", named("a", "c", "b"), batch);
    expect([more.status, more.events?.[0], more.events?.[2]]).toEqual([202, a, b]);
    expect(await post("clouds", named("a", "b"), batch)).toEqual({ status: 200, events: [a, b] });
    expect(await post("clouds", "[]", batch)).toEqual({ status: 200, events: [] });
    const broken = JSON.stringify([
      { ...event, id: "batch-d" },
      { ...event, id: "batch-e", type: undefined },
    ]);
    expect(await post("clouds", broken, batch)).toEqual({
      status: 400,
      error: expect.stringContaining("payload.body.1.type"),
    });
    expect((await post("clouds", named("d"), batch)).status).toBe(202);
    const both = await Promise.all(
      [named("x", "y", "z"), named("z", "y", "x")].map((body) => post("clouds", body, batch)),
    );
    expect(both[0]?.events).toEqual(both[1]?.events?.toReversed());
  });

  test.each<[string, string, Record<string, string>, RegExp]>([
    [
      "plain JSON",
      "{}",
      { "content-type": "application/json" },
      /is no CloudEvent: send application\/cloudevents\+json/,
    ],
    ["XML", "<a/>", { "content-type": "application/cloudevents+xml", "ce-specversion": "1.0" }, /is no CloudEvent/],
    ["no JSON", "{", structured, /is declared as a CloudEvent, but is no JSON/],
    ["a list", "[]", structured, /must be a CloudEvent/],
    ["no list", "{}", batch, /must be a list/],
    ["no id", JSON.stringify({ ...event, id: undefined }), structured, /payload\.body\.id/],
    ["an empty id", JSON.stringify({ ...event, id: "" }), structured, /payload\.body\.id: must not be empty/],
    ["a number as id", JSON.stringify({ ...event, id: 1 }), structured, /payload\.body\.id/],
    ["another version", JSON.stringify({ ...event, specversion: "0.3" }), structured, /specversion: must be "1\.0"/],
    ["a source with a space", JSON.stringify({ ...event, source: "a b" }), structured, /source: must be a URI/],
    ["a wrong time", JSON.stringify({ ...event, time: "now" }), structured, /time: must be a time/],
    [
      "data twice",
      JSON.stringify({ ...event, data: 1, data_base64: "AA==" }),
      structured,
      /data: must not be there beside/,
    ],
    ["no base64", JSON.stringify({ ...event, data_base64: "AA=zz" }), structured, /data_base64: must be base64/],
    ["an extension that is an object", JSON.stringify({ ...event, more: {} }), structured, /more: must be a text/],
    ["a name in capitals", JSON.stringify({ ...event, Region: "eu" }), structured, /lower-case letters and digits/],
    [
      "an attribute that is not encoded",
      "",
      { "ce-specversion": "1.0", "ce-id": "%zz", "ce-source": "/", "ce-type": "t" },
      /header ce-id, which is not percent-encoded/,
    ],
    ["a type in two headers", "", { "ce-specversion": "1.0", "ce-datacontenttype": "a/b" }, /the data is the body/],
  ])("are refused with the reason: %s", async (_name, body, headers, error) => {
    expect(await post("clouds", body, headers)).toEqual({ status: 400, error: expect.stringMatching(error) });
  });

  test("that are signed have their attributes in the signed body", async () => {
    const sign = (body: string) => `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
    const body = JSON.stringify(event);
    expect((await post("signed", body, { ...structured, "x-hub-signature-256": sign(body) })).status).toBe(202);
    const binary = { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t" };
    expect(
      await post("signed", "{}", { ...binary, "content-type": "application/json", "x-hub-signature-256": sign("{}") }),
    ).toEqual({
      status: 400,
      error: expect.stringContaining("which are not signed"),
    });
  });

  test("may be sent by any client that asks first; nothing else responds to other methods", async () => {
    const origin = { "webhook-request-origin": "eventemitter.example.com" };
    const ask = async (name: string, method: string, headers: Record<string, string> = {}) => {
      const response = await fetch(`${server.url}${hooks[name]}`, { method, headers });
      return [
        response.status,
        response.headers.get("webhook-allowed-origin"),
        response.headers.get("webhook-allowed-rate"),
      ];
    };
    expect(await ask("clouds", "OPTIONS", origin)).toEqual([200, "eventemitter.example.com", "*"]);
    expect(await ask("slow", "OPTIONS", origin)).toEqual([200, "eventemitter.example.com", "10"]);
    for (const name of ["clouds", "limited"]) {
      for (const method of ["OPTIONS", "GET", "PUT", "DELETE"])
        expect(await ask(name, method)).toEqual([405, null, null]);
    }
    expect(await ask("limited", "OPTIONS", origin)).toEqual([405, null, null]);
    expect(await ask("elsewhere", "OPTIONS", origin)).toEqual([403, null, null]);
    hooks["unknown"] = "/webhooks/unknown";
    expect(await ask("unknown", "OPTIONS", origin)).toEqual([404, null, null]);
  });
});

test("a webhook accepts no more events than its rate, however many come at once, and says when to try again", async () => {
  const all = await Promise.all(
    Array.from({ length: 12 }, () => fetch(`${server.url}${hooks["limited"]}`, { method: "POST", body: "{}" })),
  );
  const statuses = all.map(({ status }) => status).sort();
  expect(statuses).toEqual([...Array(3).fill(202), ...Array(9).fill(429)]);
  const wait = Number(all.find(({ status }) => status === 429)?.headers.get("retry-after"));
  expect(wait).toBeGreaterThan(3500);
  expect(wait).toBeLessThanOrEqual(3600);
  const { triggerByRef } = await request<{ triggerByRef: { webhookDeliveries: { nodes: object[] } } }>(
    server,
    `{ triggerByRef(ref: "default.limited") { webhookDeliveries(first: 20, where: {statusCode: {eq: 429}}) { nodes { error } } } }`,
  );
  expect(triggerByRef.webhookDeliveries.nodes).toHaveLength(9);
  expect(triggerByRef.webhookDeliveries.nodes[0]).toEqual({
    error: expect.stringContaining("more than 3 events in 3600 seconds"),
  });
});

test("a webhook refuses and records what comes from other addresses", async () => {
  expect(await post("here", "{}")).toMatchObject({ status: 202 });
  const error = expect.stringContaining("requests from 127.0.0.1 are not accepted");
  expect(await post("elsewhere", "{}")).toEqual({ status: 403, error });
  const { triggerByRef } = await request<{ triggerByRef: { webhookDeliveries: { nodes: object[] } } }>(
    server,
    `{ triggerByRef(ref: "default.elsewhere") { webhookDeliveries(first: 1) { nodes { statusCode error sourceIp } } } }`,
  );
  expect(triggerByRef.webhookDeliveries.nodes).toEqual([{ statusCode: 403, error, sourceIp: "127.0.0.1" }]);
});

test("Meta's challenge is returned to who knows the token", async () => {
  const ask = async (name: string, query: object) => {
    const response = await fetch(`${server.url}${hooks[name]}?${new URLSearchParams({ ...query })}`);
    return [response.status, response.headers.get("content-type")?.split(";")[0], await response.text()];
  };
  const right = { "hub.mode": "subscribe", "hub.verify_token": "meta knows this", "hub.challenge": "1158201444" };
  expect(await ask("meta", right)).toEqual([200, "text/plain", "1158201444"]);
  for (const token of ["", "meta knows thi", "meta knows this ", "Meta knows this"]) {
    expect((await ask("meta", { ...right, "hub.verify_token": token }))[0]).toBe(403);
  }
  expect((await ask("meta", { ...right, "hub.challenge": "<b>" }))[0]).toBe(400);
  expect((await ask("meta", { ...right, "hub.mode": "other" }))[0]).toBe(405);
  expect((await ask("slack", right))[0]).toBe(405);
  const { events } = await request<{ events: { nodes: object[] } }>(
    server,
    `{ events(first: 1, where: {trigger: {eq: "default.meta"}}) { nodes { id } } }`,
  );
  expect(events.nodes).toEqual([]);
});

test("Slack's challenge is returned only when it is signed, and is no event", async () => {
  const body = JSON.stringify({
    type: "url_verification",
    token: "t",
    challenge: "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P",
  });
  const time = String(Math.floor(Date.now() / 1000));
  const signature = `v0=${createHmac("sha256", secret).update(`v0:${time}:${body}`).digest("hex")}`;
  const headers = {
    "content-type": "application/json",
    "x-slack-request-timestamp": time,
    "x-slack-signature": signature,
  };
  for (let round = 0; round < 2; round += 1) {
    expect(await post("slack", body, headers)).toEqual({ status: 200, challenge: JSON.parse(body).challenge });
  }
  expect((await post("slack", body, { ...headers, "x-slack-signature": `${signature}00` })).status).toBe(401);
  expect(await post("here", body)).toEqual({ status: 202, event: expect.any(String) });
});
