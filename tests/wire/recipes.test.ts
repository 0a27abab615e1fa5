import { execFile, spawn, spawnSync } from "node:child_process";
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { getIntrospectionQuery, type IntrospectionQuery, parse } from "graphql";
import { afterAll, beforeAll, expect, test } from "vitest";
import WebSocket from "ws";
import { examples } from "../../src/graphql/transport/graphiql-examples.ts";
import { createProxy, type NetworkProxy } from "../support/proxy.ts";
import { findRecipe } from "../support/recipes.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

// The modules of docs/clients.md, each with the client that it is about.

let server: RunningServer;
let proxy: NetworkProxy;
/** The server's address through the proxy. */
let url: string;
/** Where the modules are written: inside the project, so that they find their packages. */
const directory = resolve("node_modules/.cache/recipes");
beforeAll(async () => {
  server = await startInProcess();
  proxy = await createProxy(server.url);
  url = new URL(proxy.url).origin;
  mkdirSync(directory, { recursive: true });
  globalThis.WebSocket ??= WebSocket as never;
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

/** Returns the exports of the recipe with that name. */
// biome-ignore lint/suspicious/noExplicitAny: the module is text of a document
async function recipe(name: string): Promise<any> {
  const file = join(directory, `${name}.mjs`);
  writeFileSync(file, findRecipe(name));
  return await import(pathToFileURL(file).href);
}

interface Message {
  cursor: string;
  executionId: string;
  toStatus: string;
}

const query = `subscription ($after: Cursor) { executionStatus(after: $after) { cursor executionId toStatus } }`;
const steps = ["REQUESTED", "SCHEDULING", "SCHEDULED", "RUNNING", "COMPLETED"];

async function run(): Promise<string> {
  const { executeAction } = await request<{ executeAction: { execution: { id: string } } }>(
    server,
    'mutation { executeAction(input: {action: "core.noop"}) { ... on ExecuteActionPayload { execution { id } } } }',
  );
  return executeAction.execution.id;
}

/** Runs executions until the stream has begun. */
async function runUntilSeen(seen: Message[]): Promise<void> {
  await until(async () => {
    if (seen.length === 0) await run();
    return seen.length > 0;
  }, "the first message");
}

/** Runs executions while the connection is cut; expects each of their transitions once, in order. */
async function cutWhileRunning(seen: Message[], cuts = 3): Promise<void> {
  await runUntilSeen(seen);
  const ids: string[] = [];
  for (let round = 0; round < cuts; round += 1) {
    ids.push(await run());
    proxy.cut();
    ids.push(await run());
    const last = ids.at(-1);
    await until(() => seen.some((each) => each.executionId === last && each.toStatus === "COMPLETED"), "the last end");
  }
  for (const id of ids) {
    expect(seen.filter(({ executionId }) => executionId === id).map(({ toStatus }) => toStatus)).toEqual(steps);
  }
}

test("graphql-ws", async () => {
  const { follow } = await recipe("graphql-ws");
  const stopping = new AbortController();
  const seen: Message[] = [];
  const following = (async () => {
    for await (const message of follow({ url, token: server.token, query, signal: stopping.signal }))
      seen.push(message);
  })();
  await cutWhileRunning(seen);
  stopping.abort();
  await following;
  const wrong = follow({ url, token: "att_api_wrong", query });
  await expect(wrong.next()).rejects.toMatchObject({ extensions: { code: "UNAUTHENTICATED" } });
});

test("eventsource", async () => {
  const { follow } = await recipe("eventsource");
  const seen: Message[] = [];
  const errors: unknown[] = [];
  const stop = follow({
    ...{
      url,
      token: server.token,
      query: "subscription { executionStatus { cursor executionId toStatus } }",
    },
    onMessage: (message: Message) => seen.push(message),
    onError: (error: unknown) => errors.push(error),
  });
  await cutWhileRunning(seen, 1); // it waits three seconds before it connects again
  stop();
  expect(errors).toEqual([]);
});

test("apollo", async () => {
  const { createApollo } = await recipe("apollo");
  const possibleTypes = JSON.parse(readFileSync("docs/clients/possible-types.json", "utf8"));
  const client = createApollo({ url, token: server.token, possibleTypes });
  const seen: Message[] = [];
  const errors: unknown[] = [];
  const subscription = client.subscribe({ query: parse(query) }).subscribe({
    next: ({ data, error }: { data?: { executionStatus: Message }; error?: unknown }) => {
      if (data) seen.push(data.executionStatus);
      if (error) errors.push(error);
    },
    error: (error: unknown) => errors.push(error),
  });
  await cutWhileRunning(seen);
  subscription.unsubscribe();
  expect(errors).toEqual([]);
  // A fragment on an interface is read from the cache, too.
  const document = parse('{ packByRef(ref: "core") { id ... on Node { id } ... on Pack { ref } } }');
  await client.query({ query: document });
  const cached = await client.query({ query: document, fetchPolicy: "cache-only" });
  expect(cached.data).toMatchObject({ packByRef: { ref: "core" } });
  client.stop();
});

test("urql", async () => {
  const { createUrql } = await recipe("urql");
  const introspection = await request<IntrospectionQuery>(server, getIntrospectionQuery());
  const client = createUrql({ url: server.url, token: server.token, introspection });
  const list = "{ packs(first: 5) { nodes { id ref label } } }";
  expect((await client.query(list, {}).toPromise()).data.packs.nodes.length).toBeGreaterThan(0);
  const one = '{ packByRef(ref: "default") { id ref label updated } }';
  const { data } = await client.query(one, {}).toPromise();
  const update = `mutation ($ref: String!, $label: String!) { updatePack(input: {ref: $ref, label: $label}) {
    __typename ... on UpdatePackPayload { pack { id label } } ... on Error { message } } }`;
  const labels = ["Renamed", data.packByRef.label];
  for (const label of labels) {
    const result = await client.mutation(update, { ref: "default", label }).toPromise();
    expect(result.data.updatePack.__typename).toBe("UpdatePackPayload");
    // The mutation's result changes what the cache has of the pack.
    const cached = await client.query(one, {}, { requestPolicy: "cache-only" }).toPromise();
    expect(cached.data.packByRef.label).toBe(label);
  }
  const seen: Message[] = [];
  const { unsubscribe } = client
    .subscription(query, {})
    .subscribe((result: { data?: { executionStatus: Message } }) => {
      if (result.data) seen.push(result.data.executionStatus);
    });
  await runUntilSeen(seen);
  unsubscribe();
});

/** Interpreters with graphql-core, of which versions 2 and 3 may be installed beside each other. */
const pythons = ["python3", "/usr/bin/python3"].filter(
  (python, index, all) =>
    all.indexOf(python) === index && spawnSync(python, ["-c", "import graphql"], { stdio: "ignore" }).status === 0,
);

/** Writes the recipe and a program that uses it. */
function pythonProgram(text: string): string {
  writeFileSync(join(directory, "attune_client.py"), findRecipe("python"));
  const file = join(directory, "program.py");
  writeFileSync(
    file,
    `import json, sys\nsys.path.insert(0, ${JSON.stringify(directory)})\nimport attune_client\n${text}`,
  );
  return file;
}

// graphql-core is no package of npm, and not on every machine.
test.runIf(pythons.length > 0)("python", async () => {
  const [python = ""] = pythons;
  const follows = pythonProgram(
    "for message in attune_client.follow(*sys.argv[1:4]):\n    print(json.dumps(message), flush=True)\n",
  );
  const document = "subscription { executionStatus { cursor executionId toStatus } }";
  const child = spawn(python, [follows, url, server.token, document], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const seen: Message[] = [];
    createInterface(child.stdout).on("line", (line) => seen.push(JSON.parse(line)));
    await cutWhileRunning(seen);
  } finally {
    child.kill();
  }
  const wrong = pythonProgram(
    `try:\n    next(attune_client.follow(*sys.argv[1:4]))\nexcept attune_client.Refused as error:\n    print(error)\n`,
  );
  const { stdout } = await promisify(execFile)(python, [wrong, url, "att_api_wrong", document]);
  expect(stdout).toContain("Sign in");
});

/** Every operation that the documents and GraphiQL show. */
function documentedOperations(): string[] {
  const blocks = ["README.md", ...globSync("docs/*.md")].flatMap((page) =>
    [...readFileSync(page, "utf8").matchAll(/^```graphql.*\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text),
  );
  return [...blocks, ...examples.map((example) => example.query), query];
}

// graphql-core is no package of npm, and not on every machine.
test.runIf(pythons.length > 0)("graphql-core builds the schema and accepts every documented operation", async () => {
  const file = pythonProgram(`import graphql
introspection = graphql.get_introspection_query() if hasattr(graphql, "get_introspection_query") else graphql.introspection_query
schema = attune_client.read_schema(sys.argv[1], sys.argv[2], introspection)
documents = json.load(open(sys.argv[3]))
found = [attune_client.faults(schema, document) for document in documents]
wrong = attune_client.faults(schema, "{ actions { nodes { reff } } }")
types = schema.type_map if hasattr(schema, "type_map") else schema.get_type_map()
print(json.dumps([graphql.__version__, len(types), found, wrong]))
`);
  const documents = documentedOperations();
  writeFileSync(join(directory, "documents.json"), JSON.stringify(documents));
  for (const python of pythons) {
    const { stdout } = await promisify(execFile)(python, [file, url, server.token, join(directory, "documents.json")]);
    const [version, types, found, wrong] = JSON.parse(stdout) as [string, number, string[][], string[]];
    // Version 2 is older than the rule that a default makes an argument optional.
    const isKnown = (fault: string) =>
      version.startsWith("2.") && /argument .* is required but not provided/.test(fault);
    expect([version, types > 500, found.flat().filter((fault) => !isKnown(fault))]).toEqual([version, true, []]);
    expect(found).toHaveLength(documents.length);
    expect(wrong).toEqual([expect.stringContaining("reff")]);
  }
});
