import { afterAll, beforeAll, expect, test } from "vitest";
import { type Api, createApi } from "../support/api.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

async function ask(query: string, variables: object = {}) {
  const { data, errors } = await api.ask(world.session, query, variables);
  expect(errors).toBeUndefined();
  return data;
}

const execute = async (priority = 0) =>
  (
    await ask(
      `mutation($priority: Int) { executeAction(input: {action: "core.echo", parameters: {message: "a"}, priority: $priority}) {
        ... on ExecuteActionPayload { execution { id status waitsFor blockedBy { waiting } } } } }`,
      { priority },
    )
  ).executeAction.execution;

test("shows what an execution waits for, who holds it up, and how many wait before it", async () => {
  await ask(`mutation { createPolicy(input: {ref: "default.one", action: "core.echo", parameters: ["message"], method: ENQUEUE, threshold: 1}) {
    ... on CreatePolicyPayload { policy { id } } } }`);
  const [holder, first, urgent] = [await execute(), await execute(), await execute(5)];
  expect(holder).toMatchObject({ status: "SCHEDULED", waitsFor: null, blockedBy: null });
  expect(first).toMatchObject({ status: "SCHEDULING", waitsFor: "SLOT", blockedBy: { waiting: 1 } });
  const document = `query($ids: [ID!]!) { nodes(ids: $ids) { ... on Execution {
    slot { state position acquiredAt group { key } }
    blockedBy { key active waiting policy { ref threshold } slots(where: {state: {eq: ACTIVE}}) { nodes { execution { id } } } } } } }`;
  const blockedBy = {
    key: '["a"]',
    active: 1,
    waiting: 2,
    policy: { ref: "default.one", threshold: 1 },
    slots: { nodes: [{ execution: { id: holder.id } }] },
  };
  const group = { key: '["a"]' };
  expect((await ask(document, { ids: [holder.id, first.id, urgent.id] })).nodes).toEqual([
    { slot: { state: "ACTIVE", position: null, acquiredAt: expect.any(String), group }, blockedBy: null },
    { slot: { state: "WAITING", position: 2, acquiredAt: null, group }, blockedBy },
    { slot: { state: "WAITING", position: 1, acquiredAt: null, group }, blockedBy },
  ]);
});

test("lists groups in which something waits, and what waits and runs in each queue", async () => {
  const { concurrencyGroups, queueStats } = await ask(`{
    concurrencyGroups(where: {waiting: {gt: 0}}) { totalCount { count } nodes { key policy { ref groups { nodes { key } } } slots { totalCount { count } } } }
    queueStats { runtimeRef scheduled { count } waitingForSlot { count } running { count } workers oldestScheduledAt } }`);
  expect(concurrencyGroups).toEqual({
    totalCount: { count: 1 },
    nodes: [
      {
        key: '["a"]',
        policy: { ref: "default.one", groups: { nodes: [{ key: '["a"]' }] } },
        slots: { totalCount: { count: 3 } },
      },
    ],
  });
  const queue = (name: string) =>
    queueStats.find(({ runtimeRef }: { runtimeRef: string }) => runtimeRef === `core.action.${name}`);
  expect(queue("shell")).toEqual({
    runtimeRef: "core.action.shell",
    scheduled: { count: 1 },
    waitingForSlot: { count: 2 },
    running: { count: 0 },
    workers: 0,
    oldestScheduledAt: expect.any(String),
  });
  expect(queue("builtin")).toMatchObject({ scheduled: { count: 0 }, oldestScheduledAt: null });
});

test("tells of each change of a policy, and says by which name it was refused", async () => {
  await ask(
    `mutation { disablePolicy(input: {ref: "default.one"}) { __typename } deletePolicy(input: {ref: "default.one"}) { __typename } }`,
  );
  const messages = async () =>
    (await ask("{ policyChangedMessages { ref enabled deleted policy { id } } }")).policyChangedMessages;
  const last = await until(
    async () => (await messages()).find(({ deleted }: { deleted: boolean }) => deleted),
    "the last message",
  );
  expect((await messages()).at(0)).toEqual({ ref: "default.one", enabled: true, deleted: false, policy: null });
  expect(last).toEqual({ ref: "default.one", enabled: false, deleted: true, policy: null });
  const { createPolicy } =
    await ask(`mutation { createPolicy(input: {ref: "default.odd", parameters: ["a..b"], method: ENQUEUE, threshold: 1}) {
    ... on InvalidInputError { issues { path message } } } }`);
  expect(createPolicy.issues).toEqual([
    { path: "parameters.0", message: 'must be the path of a parameter, like "host", "target.host" or "/x.y"' },
  ]);
});
