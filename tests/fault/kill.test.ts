import { once } from "node:events";
import { beforeAll, describe, expect, test } from "vitest";
import { createTrigger } from "../../src/catalog/trigger.ts";
import { createRule } from "../../src/rule/rule.ts";
import { commit } from "../support/commit.ts";
import type { Location } from "../support/database.ts";
import {
  adminToken,
  request,
  serverEnvironment,
  spawnServer,
  startInProcess,
  startProcess,
} from "../support/server.ts";
import { until } from "../support/until.ts";
import { createWorld } from "../support/world.ts";

/** Every point in the flow between two steps where a process can die. */
const faultPoints = [
  "event.before_commit",
  "enforcement.before_commit",
  "enforcement.after_commit",
  "window.before_commit",
  "claim.after_commit",
  "finish.before",
  "finish.after_commit",
];

const createEvent = `mutation { createEvent(input: {trigger: "default.kill", payload: {a: 1}}) {
  ... on CreateEventPayload { event { id } } ... on Error { message } } }`;
const everything = `{ events(first: 100, where: {trigger: {eq: "default.kill"}}) { totalCount { count } nodes {
  id evaluatedAt skipped
  enforcements(first: 4) { nodes { ruleRef status executions(first: 3) { nodes { status } } } } } } }`;

interface StoredEvent {
  id: string;
  evaluatedAt: string | null;
  skipped: string | null;
  enforcements: { nodes: { ruleRef: string; status: string; executions: { nodes: { status: string }[] } }[] };
}

let location: Location;
const accepted = new Set<string>();

/** Posts events, up to the count, while the server runs; accepted events must never be lost. */
async function post(server: { url: string; token: string }, count: number): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, async () => {
      const response = await request<{ createEvent: { event: { id: string } } }>(server, createEvent).catch(() => null);
      if (response) accepted.add(response.createEvent.event.id);
    }),
  );
}

/** Asserts after a clean start that every accepted event exists and is evaluated, with one enforcement and one ended execution for each rule. */
async function expectEverythingComplete(): Promise<void> {
  await using server = await startInProcess(location);
  const started = Date.now();
  const events = await until(
    async () => {
      const { events: found } = await request<{ events: { nodes: StoredEvent[] } }>(server, everything);
      const executions = found.nodes.flatMap((event) =>
        event.enforcements.nodes.flatMap((each) => each.executions.nodes),
      );
      const done = found.nodes.every((event) => event.evaluatedAt !== null && event.enforcements.nodes.length === 2);
      return done && executions.every(({ status }) => status === "COMPLETED") && found.nodes;
    },
    "every execution to complete",
    20_000,
  );
  expect(Date.now() - started).toBeLessThan(20_000);
  for (const event of events || []) {
    expect(event.enforcements.nodes.map(({ ruleRef }) => ruleRef).sort()).toEqual([
      "default.kill_echo",
      "default.kill_noop",
    ]);
    for (const { executions } of event.enforcements.nodes) expect(executions.nodes).toHaveLength(1);
  }
  const stored = new Set((events || []).map(({ id }) => id));
  expect([...accepted].filter((id) => !stored.has(id))).toEqual([]);
}

beforeAll(async () => {
  await using world = await createWorld();
  const { services, session } = world;
  location = services.location;
  await commit(services, createTrigger, session, { ref: "default.kill" });
  await commit(services, createRule, session, {
    ref: "default.kill_noop",
    trigger: "default.kill",
    action: "core.noop",
    maxStarts: { count: 1_000_000, per: 1 },
  });
  await commit(services, createRule, session, {
    ref: "default.kill_echo",
    trigger: "default.kill",
    action: "core.echo",
    actionParams: { message: "{{ event.id }}" },
  });
});

describe("kill -9", () => {
  test("at each step of the flow in turn: nothing is lost, nothing happens twice", async () => {
    for (const point of faultPoints) {
      const { child, output } = spawnServer(serverEnvironment(location, { ATTUNE__TEST__FAULT: point }));
      const exited = once(child, "exit");
      // Work left by an earlier death may trigger this one before the server has printed its address.
      const [url] = await until(
        () => /listens on (\S+)\n/.exec(output())?.slice(1) ?? (child.signalCode ? [] : null),
        `the server with the fault ${point}`,
        20_000,
      );
      if (url) await post({ url, token: await adminToken(location) }, 3);
      const [, signal] = await exited;
      expect({ point, signal }).toEqual({ point, signal: "SIGKILL" });
    }
    await expectEverythingComplete();
  }, 120_000);

  test("at four random times under load", async () => {
    for (let round = 0; round < 4; round += 1) {
      const server = await startProcess(location);
      const before = accepted.size;
      const posting = post(server, 8);
      await until(() => accepted.size > before, "an accepted event");
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 200)); // the time of the kill must be random
      await server.kill();
      await posting;
    }
    await expectEverythingComplete();
  }, 120_000);
});
