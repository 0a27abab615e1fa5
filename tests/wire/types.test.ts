import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { minifyIntrospection, outputIntrospectionFile } from "@gql.tada/internal";
import { codegen } from "@graphql-codegen/core";
import * as operations from "@graphql-codegen/typescript-operations";
import { buildSchema, type IntrospectionQuery, introspectionFromSchema, parse } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findRecipe } from "../support/recipes.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

// The recipes of docs/clients.md for clients that generate code from the schema.

/** Inside the project, so that what is written there finds its packages. */
const directory = resolve("node_modules/.cache/generated");
const schema = readFileSync("schema.graphql", "utf8");
const scalars = JSON.parse(readFileSync("docs/clients/scalars.json", "utf8")) as Record<string, string>;

beforeAll(() => {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(join(directory, "src"), { recursive: true });
  writeFileSync(join(directory, "package.json"), '{"type": "module"}');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Runs a package's program in the directory; returns what it prints. Throws if it fails. */
function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(resolve("node_modules/.bin", program), args, {
    cwd: directory,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${program} exits with ${status}: ${stdout}${stderr}`);
  return stdout;
}

describe("relay", () => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startInProcess();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test("compiles documents, pages a connection, reads a node again, and follows a subscription", async () => {
    const config = JSON.parse(findRecipe("relay.config"));
    expect(config.customScalarTypes).toEqual(
      Object.fromEntries(Object.entries(scalars).filter(([, type]) => type === "string")),
    );
    writeFileSync(
      join(directory, "relay.config.json"),
      JSON.stringify({ ...config, excludes: ["**/__generated__/**"] }),
    );
    writeFileSync(join(directory, "schema.graphql"), schema);
    writeFileSync(
      join(directory, "src/app.js"),
      `import { graphql } from "relay-runtime";
graphql\`query appActionsQuery($after: String) { actions(first: 3, after: $after) @connection(key: "app_actions") { edges { node { id ref } } } }\`;
graphql\`query appNodeQuery($id: ID!) { node(id: $id) { id ... on Action { ref label } } }\`;
graphql\`subscription appFollowSubscription($after: Cursor) { executionStatus(after: $after) { cursor executionId toStatus } }\`;
`,
    );
    run("relay-compiler", "relay.config.json");
    const artifact = async (name: string) =>
      (await import(pathToFileURL(join(directory, `src/__generated__/${name}.graphql.js`)).href)).default;
    writeFileSync(join(directory, "relay.mjs"), findRecipe("relay"));
    const { createRelay } = await import(pathToFileURL(join(directory, "relay.mjs")).href);
    const { default: relay } = await import("relay-runtime");
    const environment = createRelay({ url: server.url, token: server.token });

    // biome-ignore lint/suspicious/noExplicitAny: the types of documents are not generated here
    const fetch = async (name: string, variables: object): Promise<any> =>
      await relay.fetchQuery(environment, await artifact(name), variables).toPromise();
    const first = await fetch("appActionsQuery", {});
    const { edges, pageInfo } = first.actions;
    expect(edges).toHaveLength(3);
    const second = await fetch("appActionsQuery", { after: pageInfo.endCursor });
    expect(second.actions.edges.length).toBeGreaterThan(3); // Relay has added its page to the first one
    const refs = second.actions.edges.map(({ node }: { node: { ref: string } }) => node.ref);
    expect(refs).toEqual([...new Set(refs)].sort());
    const [{ node }] = edges;
    const again = await fetch("appNodeQuery", { id: node.id });
    expect(again.node).toMatchObject({ id: node.id, ref: node.ref, label: expect.any(String) });

    const seen: { executionId: string; toStatus: string }[] = [];
    const subscription = relay.requestSubscription(environment, {
      subscription: await artifact("appFollowSubscription"),
      variables: {},
      onNext: (data) => seen.push((data as { executionStatus: (typeof seen)[number] }).executionStatus),
    });
    await until(async () => {
      const execute = 'mutation { executeAction(input: {action: "core.noop"}) { __typename } }';
      if (seen.length === 0) await request(server, execute);
      return seen.some(({ toStatus }) => toStatus === "COMPLETED");
    }, "an execution's end");
    subscription.dispose();
  });
});

describe("generated types", () => {
  const query = `query Running($after: String) { executions(first: 5, after: $after, where: { status: { eq: RUNNING } }) {
    nodes { id status created parameters action { ref } } } }`;
  const use = (row: string) => `
const id: string = ${row}.id;
const status: "RUNNING" | "COMPLETED" = ${row}.status as "RUNNING";
const created: string = ${row}.created;
const ref: string | undefined = ${row}.action?.ref;
// @ts-expect-error: the field was not asked for
${row}.result;
// @ts-expect-error: what JSON holds must be checked first
const host: string = ${row}.parameters?.["host"];
export { created, host, id, ref, status };
`;

  test("of codegen and gql.tada fit the schema and the documents", async () => {
    const { schema: file, generates } = JSON.parse(findRecipe("codegen"));
    expect(file).toBe("schema.graphql");
    const { plugins, config } = generates["src/types.ts"];
    expect(config.scalars).toEqual(scalars);
    const types = await codegen({
      schema: parse(schema),
      documents: [{ document: parse(query) }],
      filename: "types.ts",
      config,
      plugins: plugins.map((name: string) => ({ [name]: {} })),
      pluginMap: { "typescript-operations": operations },
    });
    writeFileSync(join(directory, "types.ts"), types);
    writeFileSync(
      join(directory, "codegen.ts"),
      `import type { RunningQuery } from "./types.ts";
declare const row: NonNullable<RunningQuery["executions"]>["nodes"][number];
${use("row")}`,
    );
    const introspection = introspectionFromSchema(buildSchema(schema)) as IntrospectionQuery;
    const env = outputIntrospectionFile(minifyIntrospection(introspection), { fileType: ".d.ts" });
    writeFileSync(join(directory, "graphql-env.d.ts"), env);
    const recipe = findRecipe("gql.tada");
    for (const [name, type] of Object.entries(scalars)) expect(recipe).toContain(`${name}: ${type}`);
    writeFileSync(join(directory, "graphql.ts"), recipe);
    writeFileSync(
      join(directory, "tada.ts"),
      `import type { ResultOf } from "gql.tada";
import { graphql } from "./graphql.ts";
const document = graphql(\`${query}\`);
declare const row: NonNullable<ResultOf<typeof document>["executions"]>["nodes"][number];
${use("row")}`,
    );
    const options = {
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      module: "nodenext",
      target: "es2024",
      allowImportingTsExtensions: true,
      types: [],
    };
    writeFileSync(
      join(directory, "tsconfig.json"),
      JSON.stringify({ compilerOptions: options, files: ["codegen.ts", "tada.ts"] }),
    );
    run("tsc", "--project", "tsconfig.json");
  }, 120_000);
});
