import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { cloneDatabase } from "../support/database.ts";
import { request, serverEnvironment, spawnServer, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const setUp = `mutation {
  bad: createTrigger(input: {ref: "default.bad"}) { __typename }
  good: createTrigger(input: {ref: "default.good"}) { __typename }
  bomb: createRule(input: {ref: "default.bomb", trigger: "default.bad", action: "core.noop"}) { __typename }
  neighbour: createRule(input: {ref: "default.neighbour", trigger: "default.bad", action: "core.noop"}) { __typename }
  other: createRule(input: {ref: "default.other", trigger: "default.good", action: "core.noop"}) { __typename } }`;
const post = `mutation ($trigger: String!) { createEvent(input: {trigger: $trigger}) { ... on CreateEventPayload { event { id } } } }`;
const evaluated = `{ events(first: 10) { nodes { id triggerRef evaluatedAt
  enforcements(first: 5) { nodes { ruleRef executions(first: 2) { nodes { status } } } }
  evaluations(first: 5) { nodes { rule { ref } matched detail } } } } }`;

interface Found {
  triggerRef: string;
  evaluatedAt: string | null;
  enforcements: { nodes: { ruleRef: string; executions: { nodes: { status: string }[] } }[] };
  evaluations: { nodes: { rule: { ref: string }; detail: { error: string | null }[] }[] };
}

describe("a rule whose evaluation ends the process", () => {
  test("is stopped for that event after three ends, with the reason, and stops nothing else", async () => {
    const location = await cloneDatabase("core");
    await using setup = await startProcess(location, { ATTUNE__ROLES: "api" });
    await request(setup, setUp);
    await request(setup, post, { trigger: "default.bad" });
    await request(setup, post, { trigger: "default.good" });
    await setup[Symbol.asyncDispose]();

    const fault = { ATTUNE__TEST__FAULT: "rule.evaluation:default.bomb" };
    for (let end = 1; end <= 3; end += 1) {
      const { child } = spawnServer(serverEnvironment(location, fault));
      await until(() => child.signalCode !== null || child.exitCode !== null, `end ${end}`, 30_000);
      expect([end, child.signalCode]).toEqual([end, "SIGKILL"]);
    }
    await using server = await startProcess(location, fault);
    let events: Found[] = [];
    await until(async () => {
      const { events: found } = await request<{ events: { nodes: Found[] } }>(server, evaluated);
      const executions = found.nodes.flatMap(({ enforcements }) =>
        enforcements.nodes.flatMap((each) => each.executions.nodes),
      );
      const done = found.nodes.every(({ evaluatedAt }) => evaluatedAt !== null);
      events = found.nodes;
      return done && executions.length === 2 && executions.every(({ status }) => status === "COMPLETED");
    }, "both events' executions");
    const [bad, good] = ["default.bad", "default.good"].map((ref) =>
      events.find(({ triggerRef }) => triggerRef === ref),
    );
    expect(bad?.enforcements.nodes.map(({ ruleRef }) => ruleRef)).toEqual(["default.neighbour"]);
    expect(good?.enforcements.nodes.map(({ ruleRef }) => ruleRef)).toEqual(["default.other"]);
    expect(bad?.evaluations.nodes).toMatchObject([
      {
        rule: { ref: "default.bomb" },
        detail: [{ error: expect.stringMatching(/process ended while it evaluated this rule/) }],
      },
    ]);
    expect(server.output()).toContain("it is stopped for this event");
  }, 120_000); // six servers
});

test("events that take too much work delay no others by much, and need little memory", async () => {
  await using server = await startProcess();
  const made = await request<Record<string, { path: string } | { message?: string }>>(
    server,
    `mutation ($bomb: JSONObject!, $conditions: [RuleConditionInput!]!) {
      a: createTrigger(input: {ref: "default.bad"}) { __typename }
      b: createTrigger(input: {ref: "default.good"}) { __typename }
      bad: enableWebhook(input: {trigger: "default.bad", maxBytes: 1000000}) { ... on EnableWebhookPayload { path } }
      good: enableWebhook(input: {trigger: "default.good"}) { ... on EnableWebhookPayload { path } }
      c: createRule(input: {ref: "default.params", trigger: "default.bad", action: "core.echo", actionParams: $bomb}) { ... on Error { message } }
      d: createRule(input: {ref: "default.conditions", trigger: "default.bad", action: "core.noop", conditions: $conditions}) { ... on Error { message } }
      e: createRule(input: {ref: "default.other", trigger: "default.good", action: "core.noop"}) { ... on Error { message } } }`,
    {
      bomb: { message: "{{ event.payload.body.numbers.map(x, event.payload.body.text + string(x)) }}" },
      conditions: [
        {
          expression:
            "event.payload.body.numbers.exists(x, event.payload.body.text.contains(event.payload.body.text + 'b'))",
        },
      ],
    },
  );
  expect(JSON.stringify(made)).not.toContain("message");
  const send = async (name: string, body: object) => {
    const from = performance.now();
    const { path } = made[name] as { path: string };
    const response = await fetch(server.url + path, {
      method: "POST",
      // A kept connection may be closed just when a busy machine uses it again.
      headers: { "content-type": "application/json", connection: "close" },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(202);
    return performance.now() - from;
  };
  const bomb = { numbers: Array.from({ length: 100_000 }, (_, index) => index), text: "a".repeat(300_000) };
  const bombs = Array.from({ length: 4 }, () => send("bad", bomb));
  const times: number[] = [];
  for (let count = 0; count < 20; count += 1) times.push(await send("good", { count }));
  await Promise.all(bombs);
  const left = `{ events(first: 100) { nodes { evaluatedAt } }
    enforcements(first: 50, where: {rule: {eq: "default.params"}}) { nodes { error } }
    executions(first: 100, where: {rule: {eq: "default.other"}}) { nodes { status } } }`;
  const read = () =>
    request<{
      events: { nodes: { evaluatedAt: string | null }[] };
      enforcements: { nodes: { error: { code: string; message: string } }[] };
      executions: { nodes: unknown[] };
    }>(server, left);
  const isEvaluated = async () => (await read()).events.nodes.every(({ evaluatedAt }) => evaluatedAt !== null);
  await until(isEvaluated, "the evaluation of all events", 30_000);
  // The fields of one document are read one after another: what the last event has caused is there afterwards.
  const {
    enforcements: { nodes: enforcements },
    executions: { nodes: executions },
  } = await read();
  expect(executions).toHaveLength(20);
  expect(enforcements).toHaveLength(4);
  for (const { error } of enforcements) expect(error.message).toMatch(/too much work for one event/);
  expect(Math.max(...times)).toBeLessThan(30_000); // a fraction of a second, but for a busy machine and the unoptimised embedded database
  const peak = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.child.pid}/status`, "utf8"))?.[1]) / 1024;
  expect(peak).toBeLessThan(1024);
}, 60_000);
