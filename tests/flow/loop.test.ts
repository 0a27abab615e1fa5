import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readCause, signCause } from "../../src/execution/cause.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

let server: RunningServer;
beforeAll(async () => {
  server = await startInProcess(undefined, {
    ATTUNE__EXECUTOR__MAX_GENERATION: "3",
    ATTUNE__WORKER__HTTP_ALLOW: "127.0.0.1",
  });
});
afterAll(() => server[Symbol.asyncDispose]());

interface Event {
  id: string;
  generation: number;
  traceTag: string;
  skipped: string | null;
  payload: { headers: object };
  cause: { id: string } | null;
}

/** Creates a trigger with a webhook, and a rule that runs the action with parameters which may name its URL. */
async function createLoop(name: string, action: string, params: (url: string) => object): Promise<string> {
  const { enableWebhook } = await request<{ enableWebhook: { path: string } }>(
    server,
    `mutation ($ref: String!) { createTrigger(input: {ref: $ref}) { __typename }
      enableWebhook(input: {trigger: $ref}) { ... on EnableWebhookPayload { path } } }`,
    { ref: `default.${name}` },
  );
  const url = `${server.url}${enableWebhook.path}`;
  const { createRule } = await request<{ createRule: object }>(
    server,
    `mutation ($input: CreateRuleInput!) { createRule(input: $input) { ... on Error { message } } }`,
    { input: { ref: `default.${name}`, trigger: `default.${name}`, action, actionParams: params(url) } },
  );
  expect(createRule).toEqual({});
  return url;
}

async function eventsOf(name: string): Promise<Event[]> {
  const { events } = await request<{ events: { nodes: Event[] } }>(
    server,
    `query ($trigger: String!) { events(first: 20, where: {trigger: {eq: $trigger}}, orderBy: {field: CREATED, direction: ASC}) {
      nodes { id generation traceTag skipped payload cause { id } } } }`,
    { trigger: `default.${name}` },
  );
  return events.nodes;
}

test.each([
  [
    "http",
    "core.http_request",
    (url: string) => ({ method: "POST", url, body: {}, headers: { "Attune-Cause": "v1.1.x" } }),
  ],
  ["shell", "core.shell", (url: string) => ({ command: `curl -sS -d '{}' -H "attune-cause: $ATTUNE_CAUSE" '${url}'` })],
])("a rule whose action calls its own webhook is stopped: %s", async (name, action, params) => {
  const url = await createLoop(name, action, params);
  await fetch(url, { method: "POST", body: "{}" });
  const events = await until(async () => {
    const found = await eventsOf(name);
    return found.some(({ skipped }) => skipped !== null) && found;
  }, "the stop of the loop");
  if (!events) throw new Error("there are no events");
  expect(events.map(({ generation }) => generation)).toEqual([0, 1, 2, 3, 4]);
  expect(events.map(({ skipped }) => skipped)).toEqual([
    ...Array(4).fill(null),
    expect.stringContaining("stopped loop"),
  ]);
  expect(events.map(({ cause }) => cause !== null)).toEqual([false, true, true, true, true]);
  expect(new Set(events.map(({ traceTag }) => traceTag)).size).toBe(1);
  expect(JSON.stringify(events.map(({ payload }) => payload)).toLowerCase()).not.toContain("attune-cause");
});

test("only the header that an execution of this installation got counts, and it is never stored", async () => {
  const url = await createLoop("forged", "core.noop", () => ({}));
  const [caused] = await eventsOf("http").then((found) => found.filter(({ cause }) => cause !== null));
  const execution =
    Buffer.from(caused?.cause?.id ?? "", "base64")
      .toString()
      .split(":")[1] ?? "";
  const right = signCause(createKeyring(Buffer.from("42".repeat(32), "hex")), execution);
  const foreign = signCause(createKeyring(Buffer.alloc(32, 1)), execution);
  const [version, , mac] = right.split(".");
  const last = mac?.endsWith("A") ? "B" : "A";
  const forged = [
    foreign,
    `v2.${execution}.${mac}`,
    `${version}.${Number(execution) + 1}.${mac}`,
    `${right}x`,
    ` ${right}, ${right}`,
  ];
  const unknown = signCause(createKeyring(Buffer.from("42".repeat(32), "hex")), "999999999");
  for (const header of [...forged, `${right.slice(0, -2)}${last}A`, "", "v1.0.", unknown, right]) {
    const response = await fetch(url, { method: "POST", body: "{}", headers: { "attune-cause": header } });
    expect([header, response.status]).toEqual([header, 202]);
  }
  const events = await eventsOf("forged");
  expect(events.map(({ cause }) => cause?.id ?? null)).toEqual([
    ...Array(events.length - 1).fill(null),
    caused?.cause?.id,
  ]);
  expect(events.at(-1)?.generation).toBe(caused?.generation);
  expect(JSON.stringify(events.map(({ payload }) => payload))).not.toContain("attune-cause");
  expect(readFileSync("docs/webhooks.md", "utf8")).toContain('-H "attune-cause: $ATTUNE_CAUSE"');
});

test("while the encryption key is rotated, what either key has signed counts", () => {
  const [former, current] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const both = createKeyring(current, [former]);
  expect(readCause(both, signCause(createKeyring(former), "7"))).toBe("7");
  expect(readCause(both, signCause(createKeyring(current), "8"))).toBe("8");
  expect(signCause(both, "8")).toBe(signCause(createKeyring(current), "8"));
  expect(readCause(both, signCause(createKeyring(Buffer.alloc(32, 3)), "7"))).toBeNull();
  expect(readCause(createKeyring(current), signCause(createKeyring(former), "7"))).toBeNull();
});
