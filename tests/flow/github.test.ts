import { randomUUID } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as webhooks from "@octokit/webhooks-examples" with { type: "json" };
import { sign } from "@octokit/webhooks-methods";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { overEvents, overSocket } from "../support/client.ts";
import { request, type ServerProcess, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const secret = "a secret of the hook";
const directory = mkdtempSync(join(tmpdir(), "attune-github-"));

interface IssuePayload {
  action: string;
  issue: { title: string };
}

// The package's types describe a namespace, but it exports the list.
const examples = Reflect.get(webhooks, "default") as unknown as { name: string; examples: IssuePayload[] }[];
const issues = examples.find(({ name }) => name === "issues")?.examples ?? [];
const wanted = issues.filter(({ action }) => action === "opened" || action === "reopened");

const createTrigger = `mutation { createTrigger(input: {ref: "default.github"}) {
  ... on CreateTriggerPayload { trigger { ref } } ... on Error { message } } }`;
const enableWebhook = `mutation ($secret: String!) {
  enableWebhook(input: {trigger: "default.github", hmac: {secret: $secret}, maxBytes: 100000}) {
    ... on EnableWebhookPayload { path } ... on Error { message } } }`;
const createRule = `mutation ($params: JSONObject!) { createRule(input: {
    ref: "default.issues", trigger: "default.github", action: "core.shell", actionParams: $params,
    conditions: [{field: "body.action", operator: IN, value: ["opened", "reopened"]}]}) {
  ... on CreateRulePayload { rule { ref } } ... on Error { message } } }`;
const params = {
  command: 'printf %s "$1" > "$2/$3"',
  args: ["{{ event.payload.body.issue.title }}", directory, "{{ event.id }}"],
};
const statuses = `subscription ($after: Cursor) { executionStatus(where: {rule: {eq: "default.issues"}}, after: $after) {
  cursor occurredAt executionId fromStatus toStatus } }`;
const eventCount = `{ events(where: {trigger: {eq: "default.github"}}) { totalCount { count } } }`;

interface Change {
  cursor: string;
  executionId: string;
  fromStatus: string | null;
  toStatus: string;
}

const path = ["REQUESTED", "SCHEDULING", "SCHEDULED", "RUNNING", "COMPLETED"];
let server: ServerProcess;
let hook: string;

async function post(payload: unknown, headers: Record<string, string> = {}) {
  const body = JSON.stringify(payload);
  const response = await fetch(`${server.url}${hook}`, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      "x-hub-signature-256": await sign(secret, body),
      "x-github-delivery": randomUUID(),
      ...headers,
    },
  });
  return { status: response.status, ...((await response.json()) as { event?: string; error?: string }) };
}

/** Posts 20 matching and 20 other events concurrently; returns the ids of the matching ones. */
async function postTwenty(round: string): Promise<Map<string, string>> {
  const titles = new Map<string, string>();
  await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const payload = wanted[index % wanted.length];
      const other = issues.find(({ action }) => action === "labeled");
      const delivery = `${round}-${index}`;
      const [taken, ignored] = await Promise.all([
        post(payload, { "x-github-delivery": delivery }),
        post(other, { "x-github-delivery": `${delivery}-other` }),
      ]);
      expect([taken.status, ignored.status]).toEqual([202, 202]);
      titles.set(taken.event ?? "", payload?.issue.title ?? "");
    }),
  );
  return titles;
}

const changesAfter = `query ($after: Cursor) {
  executionStatusMessages(where: {rule: {eq: "default.issues"}}, after: $after, first: 100) { cursor } }`;
const unfinished = `{ executions(where: {rule: {eq: "default.issues"}, status: {notIn: [COMPLETED]}}) { totalCount { count } } }`;

/** Creates one execution, waits until all have ended, and returns the newest cursor. */
async function lastCursor(): Promise<string> {
  const { event } = await post(wanted[0]);
  await until(() => existsSync(join(directory, event ?? "")), "the action's file");
  await until(
    async () =>
      (await request<{ executions: { totalCount: { count: number } } }>(server, unfinished)).executions.totalCount
        .count === 0,
    "every execution's end",
  );
  for (let cursor: string | null = null; ; ) {
    const page: { executionStatusMessages: Change[] } = await request(server, changesAfter, { after: cursor });
    const next = page.executionStatusMessages.at(-1)?.cursor;
    if (next === undefined && cursor !== null) return cursor;
    cursor = next ?? null;
  }
}

function expectEveryTransitionOnce(changes: Change[]): void {
  const byExecution = Map.groupBy(changes, ({ executionId }) => executionId);
  expect(byExecution.size).toBe(20);
  for (const each of byExecution.values()) {
    expect(each.map(({ toStatus }) => toStatus)).toEqual(path);
    expect(each.map(({ fromStatus }) => fromStatus)).toEqual([null, ...path.slice(0, -1)]);
  }
  expect(new Set(changes.map(({ cursor }) => cursor)).size).toBe(100);
}

beforeAll(async () => {
  server = await startProcess();
  await request(server, createTrigger);
  const enabled = await request<{ enableWebhook: { path: string } }>(server, enableWebhook, { secret });
  hook = enabled.enableWebhook.path;
  const created = await request<{ createRule: { rule: { ref: string } } }>(server, createRule, { params });
  expect(created.createRule.rule.ref).toBe("default.issues");
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

describe("GitHub's webhooks, end to end", () => {
  test.each([
    ["graphql-ws", overSocket],
    ["server-sent events", overEvents],
  ])(
    "20 concurrent executions over %s: every transition once, in order, although the connection drops",
    async (name, subscribe) => {
      // From a cursor: neither protocol reports when a subscription is established, and no message may be missed.
      const first = subscribe<Change>(server, { query: statuses, variables: { after: await lastCursor() } });
      const posted = postTwenty(name);
      await until(() => first.seen.length >= 30, "thirty messages");
      first.drop();
      await first.ended;
      const before = first.seen.slice();
      const rest = subscribe<Change>(server, { query: statuses, variables: { after: before.at(-1)?.cursor } });
      const titles = await posted;
      await until(() => before.length + rest.seen.length >= 100, "a hundred messages");
      rest.drop();
      await rest.ended;
      expectEveryTransitionOnce([...before, ...rest.seen]);
      for (const [event, title] of titles) expect(readFileSync(join(directory, event), "utf8")).toBe(title);
    },
  );

  test("every example payload of GitHub comes back as it was sent", async () => {
    const payloads = examples.flatMap((example) => example.examples);
    expect(payloads).toHaveLength(329);
    for (let from = 0; from < payloads.length; from += 47) {
      const some = payloads.slice(from, from + 47);
      const posted = await Promise.all(some.map((payload) => post(payload)));
      expect(posted.map(({ status }) => status)).toEqual(some.map(() => 202));
      const { nodes } = await request<{ nodes: { payload: { body: unknown } }[] }>(
        server,
        "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Event { payload } } }",
        { ids: posted.map(({ event }) => event) },
      );
      expect(nodes.map(({ payload }) => payload.body)).toEqual(some);
    }
  });

  test("a wrong or missing HMAC gets 401 and creates no event", async () => {
    const before = await request<{ events: { totalCount: { count: number } } }>(server, eventCount);
    expect(await post(wanted[0], { "x-hub-signature-256": `sha256=${"0".repeat(64)}` })).toMatchObject({ status: 401 });
    expect(await post(wanted[0], { "x-hub-signature-256": "" })).toMatchObject({ status: 401 });
    expect(await request(server, eventCount)).toEqual(before);
  });

  test("a repeated delivery id gets the first event, even when both arrive concurrently", async () => {
    const twice = await Promise.all([1, 2].map(() => post(wanted[0], { "x-github-delivery": "same" })));
    expect(twice.map(({ status }) => status).sort()).toEqual([200, 202]);
    expect(twice[0]?.event).toBe(twice[1]?.event);
    expect(await post(wanted[0], { "x-github-delivery": "same" })).toMatchObject({
      status: 200,
      event: twice[0]?.event,
    });
  });

  test("a refused delivery does not use up its delivery id", async () => {
    const headers = { "x-github-delivery": "tried", "x-hub-signature-256": "sha256=00" };
    expect((await post(wanted[0], headers)).status).toBe(401);
    expect((await post(wanted[0], { "x-github-delivery": "tried" })).status).toBe(202);
  });

  test("a body above the limit gets 413; an unknown key 404", async () => {
    expect((await post({ filler: "x".repeat(200_000) })).status).toBe(413);
    const unknown = await fetch(`${server.url}/webhooks/nobody`, { method: "POST", body: "{}" });
    expect(unknown.status).toBe(404);
  });
});
