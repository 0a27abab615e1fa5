import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { overSocket } from "../support/client.ts";
import { packDirectories } from "../support/pack.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { sensorPack } from "./pack.ts";

/** Emits one event of its own trigger and tries one of another, by the API; then it shows its token, which a real one never would. */
const program = `
const { readFileSync } = require("node:fs");
const token = readFileSync(process.env.ATTUNE_TOKEN_FILE, "utf8");
const call = async (query, variables) => {
  const response = await fetch(process.env.ATTUNE_API_URL + "/graphql", {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer " + token },
    body: JSON.stringify({ query, variables }),
  });
  return await response.json();
};
const emit = (trigger) => call("mutation ($trigger: String!) { createEvent(input: {trigger: $trigger, payload: {n: 7}}) { __typename } }", { trigger });
(async () => {
  const answers = [await emit("watch.caller"), await emit("watch.quiet"), await call("{ rules { nodes { ref } } executions { nodes { id } } sensors { nodes { ref } } }")];
  console.error(JSON.stringify({ token, answers }));
  setInterval(() => {}, 60000);
})();
`;

const write = packDirectories();
let server: RunningServer;

interface SensorNode {
  id: string;
  ref: string;
  process: { status: string; pid: number | null; lastEventAt: string | null } | null;
}

const find = async (ref: string) =>
  (
    await request<{ sensorByRef: SensorNode }>(
      server,
      `query ($ref: String!) { sensorByRef(ref: $ref) { id ref process { status pid lastEventAt } } }`,
      { ref },
    )
  ).sensorByRef;

beforeAll(async () => {
  const directory = write(
    sensorPack(
      { caller: { runner: "node", program }, quiet: { program: "exec sleep 600" } },
      {
        "rules/caller.yaml":
          "ref: watch.caller_rule\nlabel: C\ntrigger_ref: watch.caller\naction_ref: core.noop\ntrigger_params: {path: /c}\n",
      },
    ),
  );
  server = await startInProcess(undefined, { ATTUNE__PACKS__DIRS: directory });
});
afterAll(() => server[Symbol.asyncDispose]());

describe("a sensor over the API", () => {
  test("emits events of its own triggers with its token, as long as it runs, and its process and log can be followed", async () => {
    const { id } = await find("watch.caller");
    const log = overSocket<{ text: string; stream: string }>(server, {
      query: `subscription ($id: ID!) { sensorLog(id: $id) { text stream } }`,
      variables: { id },
    });
    const changes = overSocket<{ ref: string; sensor: SensorNode }>(server, {
      query: `subscription { sensorChanged(where: {ref: {eq: "watch.caller"}}) { ref sensor { process { status } } } }`,
    });
    const line = await until(() => {
      const text = log.seen
        .filter(({ stream }) => stream === "STDERR")
        .map((each) => each.text)
        .join("");
      return text.endsWith("\n") ? text : null;
    }, "what the sensor was answered");
    const { token, answers } = JSON.parse(line);
    const [own, other, reading] = answers;
    expect(own).toMatchObject({ data: { createEvent: { __typename: "CreateEventPayload" } } });
    expect(other).toMatchObject({ data: { createEvent: { __typename: "NotFoundError" } } });
    expect(reading.data).toEqual({ rules: null, executions: null, sensors: null });

    const { events } = await request<{ events: { nodes: { source: { ref: string }; payload: unknown }[] } }>(
      server,
      `{ events(where: {trigger: {eq: "watch.caller"}}) { nodes { source { ref } payload } } }`,
    );
    expect(events.nodes).toEqual([{ source: { ref: "watch.caller" }, payload: { n: 7 } }]);
    const running = await find("watch.caller");
    expect(running.process).toMatchObject({
      status: "RUNNING",
      pid: expect.any(Number),
      lastEventAt: expect.any(String),
    });
    expect((await find("watch.quiet")).process).toBeNull();

    await request(server, `mutation { disableSensor(input: {ref: "watch.caller"}) { __typename } }`);
    await until(() => changes.seen.at(-1)?.sensor.process?.status === "STOPPED", "the message of its end");
    const late = await fetch(`${server.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify({
        query: `mutation { createEvent(input: {trigger: "watch.caller", payload: {n: 8}}) { __typename } }`,
      }),
    });
    const { errors } = (await late.json()) as { errors: { extensions: { code: string } }[] };
    expect(errors[0]?.extensions.code).toBe("UNAUTHENTICATED");
    const { sensorLogMessages: polled } = await request<{ sensorLogMessages: { seq: string; text: string }[] }>(
      server,
      `query ($id: ID!) { sensorLogMessages(id: $id, first: 1) { seq text } }`,
      { id },
    );
    expect(polled).toEqual([{ seq: expect.anything(), text: expect.stringMatching(/^Started as process \d+\.\n/) }]);
    log.drop();
    changes.drop();
  });
});
