import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { examples } from "../../src/graphql/transport/graphiql-examples.ts";
import { openEvents } from "../support/events.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

let server: RunningServer;

beforeAll(async () => {
  server = await startInProcess();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

function example(name: string) {
  const found = examples.find((each) => each.name === name);
  if (!found) throw new Error(`there is no example ${name}`);
  return { query: found.query, variables: { ...found.variables } };
}

function run(name: string): Promise<unknown> {
  const { query, variables } = example(name);
  return request(server, query, variables);
}

describe("GraphiQL's default operations, on a new server, in their order", () => {
  test("are these five", () => {
    expect(examples.map(({ name }) => name)).toEqual([
      "Packs",
      "ExecuteAction",
      "ExecutionStatus",
      "CreateRule",
      "Executions",
    ]);
    for (const { name, query } of examples)
      expect(query).toMatch(new RegExp(`^(# [^\\n]+\\n)+(query|mutation|subscription) ${name}\\b`));
  });

  test("Packs lists the core pack and its actions", async () => {
    const { packs } = (await run("Packs")) as {
      packs: { totalCount: { count: number }; nodes: { ref: string; actions: { nodes: { ref: string }[] } }[] };
    };
    expect(packs.nodes.map(({ ref }) => ref)).toEqual(["core", "default"]);
    expect(packs.nodes[0]?.actions.nodes.map(({ ref }) => ref)).toContain("core.echo");
  });

  test("ExecuteAction runs an action, and ExecutionStatus delivers each of its steps", async () => {
    const stream = await openEvents(server, example("ExecutionStatus"));
    const { executeAction } = (await run("ExecuteAction")) as { executeAction: { execution: { id: string } } };
    expect(executeAction).toEqual({
      __typename: "ExecuteActionPayload",
      execution: { id: expect.any(String), status: expect.any(String) },
    });
    await until(() => stream.seen.length >= 5, "five messages");
    stream.abort();
    const messages = stream.seen.map(({ data }) => JSON.parse(data).data.executionStatus);
    expect(messages).toMatchObject(
      ["REQUESTED", "SCHEDULING", "SCHEDULED", "RUNNING", "COMPLETED"].map((toStatus) => ({
        executionId: executeAction.execution.id,
        actionRef: "core.echo",
        toStatus,
      })),
    );
  });

  test("CreateRule creates a rule that waits for its first minute; a second call is a conflict", async () => {
    expect(await run("CreateRule")).toEqual({
      createRule: {
        __typename: "CreateRulePayload",
        rule: {
          id: expect.any(String),
          ref: "default.every_minute",
          enabled: true,
          timer: { nextFireAt: expect.any(String) },
        },
      },
    });
    expect(await run("CreateRule")).toMatchObject({ createRule: { __typename: "ConflictError", code: "CONFLICT" } });
  });

  test("Executions shows the execution with its result", async () => {
    expect(await run("Executions")).toMatchObject({
      executions: {
        totalCount: { count: 1 },
        nodes: [
          {
            status: "COMPLETED",
            actionRef: "core.echo",
            ruleRef: null,
            parameters: { message: "hello" },
            finishedAt: expect.any(String),
            transitions: { nodes: { length: 5 } },
          },
        ],
      },
    });
  });
});
