import { afterAll, describe, expect, test } from "vitest";
import { processesWith } from "../support/processes.ts";
import { request, type ServerProcess, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

/** Unique, so that a run that was broken off does not matter. */
const seconds = `3000.${process.pid}1`;
/** A service that an action started on purpose, in a session of its own. */
const service = `2000.${process.pid}1`;
const serving = () => processesWith(`sleep\u0000${service}`);
const sleeping = () => processesWith(`sleep\u0000${seconds}`);
afterAll(() => {
  for (const pid of [...sleeping(), ...serving()]) process.kill(Number(pid), "SIGKILL");
});

async function execute(server: ServerProcess, action: string, parameters: object): Promise<string> {
  const { executeAction } = await request<{ executeAction: { execution: { id: string } } }>(
    server,
    `mutation($input: ExecuteActionInput!) { executeAction(input: $input) { ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`,
    { input: { action, parameters } },
  );
  return executeAction.execution.id;
}

interface Found {
  status: string;
  attempt: number;
  waitsFor: string | null;
  transitions: { nodes: { reason: string | null }[] };
}
const find = async (server: ServerProcess, id: string) =>
  (
    await request<{ node: Found }>(
      server,
      "query($id: ID!) { node(id: $id) { ... on Execution { status attempt waitsFor transitions { nodes { reason } } } } }",
      { id },
    )
  ).node;

/** Limits the action to one execution at once. */
const limit = (server: ServerProcess, action: string) =>
  request(
    server,
    `mutation($action: String!) { createPolicy(input: {ref: "default.one", action: $action, method: ENQUEUE, threshold: 1}) { __typename } }`,
    { action },
  );

/** Requests two executions of which one may run, and kills the server while all its processes sleep, as many as `count`. */
async function killRunning(action: string, parameters: object, count: number) {
  await using server = await startProcess();
  const started = await execute(server, "core.shell", {
    command: `setsid sleep ${service} < /dev/null > /dev/null 2>&1 &`,
  });
  await until(async () => (await find(server, started)).status === "COMPLETED", "the action that starts a service");
  const services = serving();
  expect(services.length).toBeGreaterThan(0);
  await limit(server, action);
  const ids = [await execute(server, action, parameters), await execute(server, action, parameters)] as const;
  await until(() => sleeping().length === count, "the action's processes");
  expect(await find(server, ids[1])).toMatchObject({ status: "SCHEDULING", waitsFor: "SLOT" });
  const pids = sleeping();
  await server.kill();
  expect(sleeping(), "the action's processes outlive the server").toEqual(pids);
  return { ids, pids, services, location: server.location };
}

describe("what an action's processes do when their worker is killed", () => {
  test("they are ended, the execution is abandoned, and the next one gets its slot", async () => {
    // One of them leaves the group.
    const command = `setsid sleep ${seconds} & sleep ${seconds} & sleep ${seconds}`;
    const { ids, pids, services, location } = await killRunning("core.shell", { command }, 3);
    await using server = await startProcess(location);
    await until(
      async () => (await find(server, ids[0])).status === "ABANDONED",
      "the end of the lost execution",
      60_000,
    );
    expect(sleeping().filter((pid) => pids.includes(pid))).toEqual([]);
    await until(async () => (await find(server, ids[1])).status === "RUNNING", "the execution that waited");
    const { transitions } = await find(server, ids[0]);
    expect(transitions.nodes.at(-1)).toEqual({ reason: "the worker was lost" });
    expect(serving(), "what an ended execution left on purpose goes on").toEqual(services);
  });

  test("they are ended before the execution runs again, which keeps its slot", async () => {
    for (const pid of sleeping()) process.kill(Number(pid), "SIGKILL");
    await until(() => sleeping().length === 0, "the end of the other test's processes");
    const { ids, pids, location } = await killRunning("core.sleep", { seconds: Number(seconds) }, 1);
    await using server = await startProcess(location);
    await until(async () => (await find(server, ids[0])).attempt === 2, "the second attempt", 60_000);
    await until(() => sleeping().length > 0, "its process");
    expect(sleeping()).toHaveLength(1);
    expect(pids).not.toContain(sleeping()[0]);
    expect(await find(server, ids[1])).toMatchObject({ status: "SCHEDULING", waitsFor: "SLOT" });
  });
});
