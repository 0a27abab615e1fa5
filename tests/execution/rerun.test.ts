import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services, { services: world.services }); // with the keyring of the worker
  await world.startWorker();
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

async function ask(query: string, variables: object = {}, session = world.session) {
  const { data, errors } = await api.ask(session, query, variables);
  expect(errors).toBeUndefined();
  return data;
}

const execute = async (input: object) =>
  (
    await ask(
      `mutation($input: ExecuteActionInput!) { executeAction(input: $input) { ... on ExecuteActionPayload { execution { id } } ... on InvalidInputError { issues { path } } } }`,
      { input },
    )
  ).executeAction;
const rerun = async (id: string, parameters?: object, session = world.session) =>
  (
    await ask(
      `mutation($input: RerunExecutionInput!) { rerunExecution(input: $input) { __typename
        ... on RerunExecutionPayload { execution { id status parameters priority timeoutSeconds traceTag retryPolicy { max on } rerunOf { id } } }
        ... on Error { message } ... on InvalidInputError { issues { path } } } }`,
      { input: { id, ...(parameters ? { parameters } : {}) } },
      session,
    )
  ).rerunExecution;
const numberOf = (id: string) => atob(id).split(":")[1] ?? "";
const outputOf = async (id: string) => {
  await world.ended(numberOf(id));
  return await world.log(numberOf(id), "stdout");
};

describe("an execution that has ended", () => {
  test("runs again with the same parameters and properties, or with other parameters", async () => {
    const { execution: first } = await execute({
      action: "core.echo",
      parameters: { message: "one" },
      priority: 3,
      timeoutSeconds: 44,
      retry: { max: 2, on: ["FAILED"] },
    });
    expect(await outputOf(first.id)).toContain("one");
    const again = await rerun(first.id);
    expect(again.execution).toMatchObject({
      parameters: { message: "one" },
      priority: 3,
      timeoutSeconds: 44,
      traceTag: `core.echo.${numberOf(first.id)}`,
      retryPolicy: { max: 2, on: ["FAILED"] },
      rerunOf: { id: first.id },
    });
    expect(await outputOf(again.execution.id)).toContain("one");
    const other = await rerun(first.id, { message: "two" });
    expect(await outputOf(other.execution.id)).toContain("two");
    const { node } = await ask("query($id: ID!) { node(id: $id) { ... on Execution { reruns { nodes { id } } } } }", {
      id: first.id,
    });
    expect(node.reruns.nodes.map(({ id }: { id: string }) => id).sort()).toEqual(
      [again.execution.id, other.execution.id].sort(),
    );
  });

  test("runs again with its secrets, which nobody sees", async () => {
    await ask(`mutation { setKey(input: {owner: {system: true}, name: "word", value: "swordfish-7"}) { __typename } }`);
    const trigger = await world.trigger();
    await world.rule(trigger, {
      action: "core.shell",
      actionParams: { command: 'printf %s "$1" | wc -c', args: ['{{ key("system.word") }}'] },
    });
    const executor = world.startExecutor();
    await world.event(trigger);
    const found = await until(
      async () =>
        (await world.all<{ id: string }>(sql`select id::text from attune.execution where rule_ref is not null`))[0],
      "the rule's execution",
    );
    await world.ended(found.id);
    expect((await world.log(found.id, "stdout")).trim()).toBe("11");
    const { execution } = await rerun(btoa(`Execution:${found.id}`));
    expect(JSON.stringify(execution.parameters)).not.toContain("swordfish");
    expect((await outputOf(execution.id)).trim()).toBe("11");
    await executor.stop();
  });

  test("is run again only by those who may read it and execute its action, and as the action is now", async () => {
    const { execution } = await execute({ action: "core.echo", parameters: { message: "x" } });
    await outputOf(execution.id);
    const reader = await createPerson(world.services, "reader", {
      grants: [
        { resource: "execution", actions: ["read"] },
        { resource: "action", actions: ["execute"], constraints: { refs: ["core.noop"] } },
        { resource: "action", actions: ["read"] },
      ],
    });
    expect(await rerun(execution.id, undefined, reader)).toMatchObject({ __typename: "ForbiddenError" });
    const runner = await createPerson(world.services, "runner", {
      grants: [{ resource: "action", actions: ["execute"] }],
    });
    expect(await rerun(execution.id, undefined, runner)).toMatchObject({ __typename: "NotFoundError" });
    expect(await rerun(execution.id, { message: 7, nonsense: 1 })).toMatchObject({
      __typename: "InvalidInputError",
      issues: [{ path: "parameters.nonsense" }, { path: "parameters.message" }],
    });
    await ask(`mutation { disableAction(input: {ref: "core.echo"}) { __typename } }`);
    expect(await rerun(execution.id)).toMatchObject({
      __typename: "ConflictError",
      message: 'The action "core.echo" is disabled.',
    });
    await ask(`mutation { enableAction(input: {ref: "core.echo"}) { __typename } }`);
  });

  test("only: one that runs is refused", async () => {
    const { execution } = await execute({ action: "core.noop", runAt: new Date(Date.now() + 60_000) });
    expect(await rerun(execution.id)).toMatchObject({
      __typename: "ConflictError",
      message: "The execution has not ended (requested).",
    });
  });
});

test("shows when it will run and which try it is", async () => {
  const runAt = new Date(Date.now() + 3600_000).toISOString();
  const { execution } = await execute({
    action: "core.noop",
    runAt,
    retry: { max: 3, delay: 1.5, backoff: "EXPONENTIAL", maxDelay: 60, jitter: 0.1 },
  });
  const { node } = await ask(
    `query($id: ID!) { node(id: $id) { ... on Execution { status waitsFor runAt retryCount retryOf { id } retries { nodes { id } }
      retryPolicy { max delay backoff maxDelay jitter on } } } }`,
    { id: execution.id },
  );
  expect(node).toEqual({
    status: "REQUESTED",
    waitsFor: "TIME",
    runAt,
    retryCount: 0,
    retryOf: null,
    retries: { nodes: [] },
    retryPolicy: {
      max: 3,
      delay: 1.5,
      backoff: "EXPONENTIAL",
      maxDelay: 60,
      jitter: 0.1,
      on: ["FAILED", "TIMEOUT", "ABANDONED"],
    },
  });
  expect(await execute({ action: "core.noop", retry: { max: 0, maxDelay: -1 } })).toEqual({
    issues: [{ path: "retry.max" }, { path: "retry.maxDelay" }],
  });
});

test("retries a real action until it succeeds", async () => {
  const executor = world.startExecutor();
  const file = `/tmp/attune-retry-${process.pid}`;
  const { execution } = await execute({
    action: "core.shell",
    parameters: {
      command: `n=$(cat ${file} 2>/dev/null || echo 0); echo $((n + 1)) > ${file}; [ "$n" -ge 2 ] && rm ${file}`,
    },
    retry: { max: 5, delay: 0.05 },
  });
  const statuses = () =>
    world.all<{ status: string }>(
      sql`with recursive t as (select id, status from attune.execution where id = ${numberOf(execution.id)}::bigint
          union all select e.id, e.status from attune.execution e join t on e.retry_of = t.id) select status from t order by id`,
    );
  await expect
    .poll(async () => (await statuses()).map(({ status }) => status).join(), { timeout: 20_000 })
    .toBe("failed,failed,completed");
  await executor.stop();
});
