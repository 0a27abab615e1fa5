import { createHash } from "node:crypto";
import { request } from "../support/server.ts";
import { until } from "../support/until.ts";

interface Server {
  url: string;
  token: string;
}

/** Performs one mutation and returns its payload. */
export async function mutate<T>(server: Server, name: string, input: object, selection: string): Promise<T> {
  const type = name.charAt(0).toUpperCase() + name.slice(1);
  const { [name]: result } = await request<Record<string, T & { __typename: string }>>(
    server,
    `mutation($input: ${type}Input!) { ${name}(input: $input) {
      __typename ... on ${type}Payload { ${selection} } ... on Error { message } } }`,
    { input },
  );
  if (result?.__typename !== `${type}Payload`) throw new Error(`${name}: ${JSON.stringify(result)}`);
  return result;
}

/** Executes an action and returns the execution's id. */
export async function execute(server: Server, action: string, parameters: object): Promise<string> {
  const { execution } = await mutate<{ execution: { id: string } }>(
    server,
    "executeAction",
    { action, parameters },
    "execution { id }",
  );
  return execution.id;
}

/** Waits until the query returns an object of a list, and returns its id. */
const first = async (server: Server, list: string): Promise<string> =>
  await until(async () => {
    const data = await request<Record<string, { nodes: { id: string }[] }>>(
      server,
      `{ ${list}(first: 1) { nodes { id } } }`,
    );
    return data[list]?.nodes[0]?.id;
  }, list);

/** Stores an artifact with one version. */
export async function upload(server: Server, ref: string, content: string): Promise<void> {
  const input = {
    ref,
    type: "FILE_TEXT",
    contentType: "text/plain",
    size: String(Buffer.byteLength(content)),
    sha256: createHash("sha256").update(content).digest("hex"),
  };
  const { upload: to } = await mutate<{ upload: { url: string } }>(
    server,
    "createArtifactUpload",
    input,
    "upload { url }",
  );
  const headers = { "content-type": "text/plain" };
  const response = await fetch(server.url + to.url, { method: "PUT", headers, body: content });
  if (!response.ok) throw new Error(`the upload failed: ${await response.text()}`);
}

/** The password of `admin` in a seeded server. */
export const password = "correct horse battery staple";

/** Creates what the examples of the help name, and returns an id of each type that they name by its id. */
export async function seed(server: Server): Promise<Record<string, string>> {
  const create = (name: string, input: object) => mutate(server, name, input, "__typename");
  await create("setPassword", { login: "admin", password });
  await create("createTrigger", { ref: "default.hello" });
  await create("enableWebhook", { trigger: "default.hello" });
  await create("createRule", {
    ref: "default.greet",
    trigger: "default.hello",
    action: "core.echo",
    conditions: [{ field: "name", operator: "NEQUALS", value: "nobody" }],
    actionParams: { message: "Hello, {{ event.payload.name }}." },
  });
  await create("createSensor", { ref: "default.probe", entrypoint: "probe.sh", runtime: "core.sensor.shell" });
  await create("createPolicy", { ref: "default.calm", action: "core.echo", threshold: 50, method: "ENQUEUE" });
  const definition = { version: "1.0.0", tasks: [{ name: "one", action: "core.noop" }] };
  await create("createWorkflowDefinition", { ref: "default.deploy", definition });
  await create("setKey", { name: "greeting", value: "hello", owner: { system: true } });
  await upload(server, "reports/july.csv", "a,b\n1,2\n");
  await create("createEvent", { trigger: "default.hello", payload: { name: "world" } });
  await create("createApiToken", { label: "spare" });
  const execution = await execute(server, "core.echo", { message: "hello" });
  const question = { prompt: "Deploy?", response_schema: { approved: { type: "boolean", required: true } } };
  await execute(server, "core.inquire", question);
  await execute(server, "core.inquire", question);
  const lists = ["events", "enforcements", "inquiries", "artifacts", "workers", "auditEvents", "apiTokens"];
  const ids = await Promise.all(lists.map((list) => first(server, list)));
  return Object.fromEntries([execution, ...ids].map((id) => [typeOf(id), id]));
}

/** Returns the type of the object with an id. */
export const typeOf = (id: string): string => /^(\w+):/.exec(Buffer.from(id, "base64").toString())?.[1] ?? "";
