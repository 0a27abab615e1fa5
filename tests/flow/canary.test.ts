import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { overSocket, type Stream } from "../support/client.ts";
import { createServices } from "../support/database.ts";
import { request, type ServerProcess, serverEnvironment, spawnServer, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

/** Two values that must appear nowhere: one that every encoding changes, one that URLs leave unchanged. */
const canary = 'Ünseen/+& "canary" \\ with<tags> 7Yk2Qw9Z';
const simple = "plainCanary0x5eA7vB3";
const pack = join(mkdtempSync(join(tmpdir(), "attune-canary-")), "canary");

/** Writes its password in every encoding, and sends it in an event, an inquiry, an artifact and a ref with its own token. */
const leak = `import { readFileSync } from "node:fs";
const { password, how } = JSON.parse(readFileSync(0, "utf8"));
const bytes = Buffer.from(password);
process.stderr.write(password + "\\n" + bytes.toString("base64url") + "\\n");
if (how === "broken") {
  process.stdout.write(password);
} else {
  const selection = "{ __typename ... on Error { message } }";
  const query = "mutation ($payload: JSON, $text: String!) { createEvent(input: {trigger: \\"default.leaked\\", payload: $payload}) " + selection
    + " createInquiry(input: {prompt: $text, assignedTo: \\"admin\\"}) " + selection
    + " createArtifact(input: {ref: \\"leaked\\", type: PROGRESS, name: $text, description: $text}) " + selection
    + " deleteRule(input: {ref: $text}) " + selection + " }";
  const payload = { raw: password, [password]: 1, hex: bytes.toString("hex"), list: ["x" + password + "y"] };
  const token = readFileSync(process.env.ATTUNE_TOKEN_FILE, "utf8");
  const response = await fetch(process.env.ATTUNE_API_URL + "/graphql", {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer " + token },
    body: JSON.stringify({ query, variables: { payload, text: "I was given " + password } }),
  });
  process.stdout.write(JSON.stringify({
    sent: await response.json(), raw: password, json: JSON.stringify({ password }), url: encodeURIComponent(password),
    base64: [0, 1, 2].map((shift) => Buffer.concat([Buffer.alloc(shift, 120), bytes, Buffer.from("end")]).toString("base64")),
    hex: [bytes.toString("hex"), bytes.toString("hex").toUpperCase()], [password]: "as a key",
  }));
}
`;
const command = `printf '%s\\n' "$1"; printf '%s' "$1" | base64; printf 'user:%s' "$1" | base64 -w 20; printf '%s' "$1" | od -An -v -tx1
  printf '{"a": "%s"}\\n' "$1"; end=\${1#"\${1%????????}"}; printf '%s' "\${1%????????}"; sleep 0.3; printf '%s\\n' "$end"
  printf 'it failed with %s\\n' "$1" >&2; exit 1`;

let server: ServerProcess;
const seen: Stream<unknown>[] = [];

async function must(document: string, variables: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
  const [response] = Object.values(await request<Record<string, Record<string, unknown>>>(server, document, variables));
  if (!response || "message" in response) throw new Error(JSON.stringify(response));
  return response;
}

const error = "... on Error { code message }";
const setKey = (name: string, value: string) =>
  must(
    `mutation ($name: String!, $value: String!) { setKey(input: {owner: {system: true}, name: $name, value: $value}) {
      __typename ... on SetKeyPayload { key { ref encrypted } } ${error} } }`,
    { name, value },
  );
const createRule = (ref: string, action: string, params: object) =>
  must(`mutation ($input: CreateRuleInput!) { createRule(input: $input) { __typename ${error} } }`, {
    input: { ref, action, trigger: "default.start", actionParams: params },
  });
const execute = (how: string) =>
  must(
    `mutation ($parameters: JSONObject) { executeAction(input: {action: "canary.leak", parameters: $parameters}) {
      __typename ... on ExecuteActionPayload { execution { parameters } } ${error} } }`,
    { parameters: { password: canary, how } },
  );

const everything = `{
  executions(first: 20) { nodes { id actionRef status reason parameters result error traceTag
    transitions(first: 20) { nodes { reason } } logs(first: 50) { nodes { stream text } } } }
  enforcements(first: 20) { nodes { parameters error payload conditions } }
  events(first: 20) { nodes { triggerRef payload config traceTag skipped } }
  rules(first: 20) { nodes { ref actionParams } }
  packs(first: 20) { nodes { ref confSchema config meta } }
  keys(first: 20) { nodes { ref name owner ownerType encrypted } }
  auditEvents(first: 100) { nodes { category eventType resourceRef details } }
  notifications(first: 100) { nodes { channel activity content } }
}`;
interface Everything {
  executions: {
    nodes: {
      id: string;
      actionRef: string;
      status: string;
      parameters: Record<string, unknown>;
      result: Record<string, unknown> | null;
      error: { code: string; message: string } | null;
      logs: { nodes: { stream: string; text: string }[] };
    }[];
  };
  events: { nodes: { triggerRef: string; payload: Record<string, unknown> }[] };
}

const sentTexts = `{ inquiries { nodes { prompt } } artifacts(where: {ref: {eq: "leaked"}}) { nodes { name description } }
  auditEvents(where: {eventType: {eq: "deleteRule"}}) { nodes { outcome resourceRef } } }`;
interface SentTexts {
  inquiries: { nodes: { prompt: string }[] };
  artifacts: { nodes: { name: string; description: string }[] };
  auditEvents: { nodes: { outcome: string; resourceRef: string }[] };
}

beforeAll(async () => {
  mkdirSync(join(pack, "actions"), { recursive: true });
  writeFileSync(
    join(pack, "pack.yaml"),
    `ref: canary\nlabel: Canary\nversion: 1.0.0
conf_schema: {token: {type: string, secret: true}}\nconfig: {token: ${JSON.stringify(canary)}}\n`,
  );
  writeFileSync(
    join(pack, "actions/leak.yaml"),
    `ref: canary.leak\nlabel: Leak\nrunner_type: node\nentry_point: actions/leak.mjs\noutput_format: json
permission_set_refs: [core.editor]\nparameters:\n  password: {type: string, secret: true}\n  how: {type: string}\n`,
  );
  writeFileSync(join(pack, "actions/leak.mjs"), leak);
  server = await startProcess(undefined, {
    ATTUNE__WORKER__HTTP_ALLOW: "127.0.0.0/8",
    ATTUNE__PACKS__DIRS: pack,
    ATTUNE__LOG__LEVEL: "trace",
    ATTUNE__DATABASE__LOG_STATEMENTS: "true",
  });
});
afterAll(() => server[Symbol.asyncDispose]());

/** Returns the canaries that the text contains, in any encoding. */
function found(text: string): string[] {
  const dense = text.replaceAll(/\s|\\n/g, "");
  return [canary, simple].flatMap((value) => {
    const bytes = Buffer.from(value);
    const core = (shift: number) =>
      Buffer.concat([Buffer.alloc(shift), bytes])
        .toString("base64")
        .slice(shift === 0 ? 0 : shift + 1, -4);
    const json = JSON.stringify(value).slice(1, -1);
    const forms = [value, json, JSON.stringify(json).slice(1, -1), encodeURIComponent(value)];
    const dumped = [0, 1, 2].map(core).flatMap((each) => [each, each.replaceAll("+", "-").replaceAll("/", "_")]);
    return [
      ...forms.filter((form) => text.includes(form)),
      ...dumped.filter((form) => dense.includes(form)),
      ...(dense.toLowerCase().includes(bytes.toString("hex")) ? [`hex of ${value}`] : []),
    ];
  });
}

test("a secret that an action receives and writes in every encoding appears nowhere", async () => {
  const responses: unknown[] = [];
  for (const what of [
    `notificationCreated { channel activity content }`,
    `executionsChanged { execution { parameters result error reason logs(first: 50) { nodes { text } } } }`,
    `eventCreated { event { payload } }`,
    `enforcementChanged { enforcement { parameters error payload } }`,
  ]) {
    seen.push(overSocket(server, { query: `subscription { ${what} }` }));
  }
  responses.push(await setKey("canary", canary), await setKey("simple", simple));
  await must(`mutation { createTrigger(input: {ref: "default.start"}) { __typename ${error} } }`);
  await must(`mutation { createTrigger(input: {ref: "default.leaked"}) { __typename ${error} } }`);
  await createRule("default.shell", "core.shell", { command, args: ['{{ key("system.canary") }}'] });
  await createRule("default.echo", "core.echo", { message: 'Bearer {{ key("system.canary") }}' });
  await createRule("canary.told", "core.echo", { message: "Setting {{ pack.config.token }}" });
  await createRule("default.ask", "core.http_request", { url: 'http://127.0.0.1:1/{{ key("system.simple") }}' });
  responses.push(
    await must(`mutation { createEvent(input: {trigger: "default.start", payload: {}}) { __typename ${error} } }`),
  );
  responses.push(await execute("every way"), await execute("broken"));

  const all = await until(
    async () => {
      const now = await request<Everything>(server, everything);
      const { nodes } = now.executions;
      const leaked = now.events.nodes.some(({ triggerRef }) => triggerRef === "default.leaked");
      return nodes.length === 6 && leaked && nodes.every(({ status }) => /COMPLETED|FAILED/.test(status)) && now;
    },
    "every execution to end",
    20_000,
  );
  if (!all) throw new Error("never: `until` returns only truthy values");
  for (const { id } of all.executions.nodes) {
    const log = overSocket(server, { query: `subscription { executionLog(id: "${id}") { text } }` });
    await log.ended;
    seen.push(log);
  }
  responses.push(all);

  // It ran with the secret, and its output is masked.
  const ends = all.executions.nodes.map(
    ({ actionRef, status, error: fault }) => `${actionRef} ${status} ${fault?.code ?? ""}`,
  );
  expect(ends.sort()).toEqual([
    "canary.leak COMPLETED ",
    "canary.leak FAILED OUTPUT_INVALID",
    "core.echo COMPLETED ",
    "core.echo COMPLETED ",
    "core.http_request FAILED REQUEST_FAILED",
    "core.shell FAILED EXIT_CODE",
  ]);
  const textOf = (ref: string, stream: string) =>
    all.executions.nodes
      .filter(({ actionRef }) => actionRef === ref)
      .flatMap(({ logs }) => logs.nodes.filter((piece) => piece.stream === stream).map(({ text }) => text))
      .join("");
  expect(textOf("core.shell", "STDOUT").match(/\[secret:system\.canary\]/g)).toHaveLength(6);
  expect(textOf("core.shell", "STDERR")).toBe("it failed with [secret:system.canary]\n");
  expect(textOf("core.echo", "STDOUT").split("\n").sort()).toEqual([
    "",
    "Bearer [secret:system.canary]",
    "Setting [secret:config.token]",
  ]);
  expect(all.events.nodes.find(({ triggerRef }) => triggerRef === "default.leaked")?.payload).toEqual({
    raw: "[secret:password]",
    "[secret:password]": 1,
    hex: "[secret:password]",
    list: ["x[secret:password]y"],
  });
  const sent = await request<SentTexts>(server, sentTexts);
  responses.push(sent);
  const text = "I was given [secret:password]";
  expect(sent).toEqual({
    inquiries: { nodes: [{ prompt: text }] },
    artifacts: { nodes: [{ name: text, description: text }] },
    auditEvents: { nodes: [{ outcome: "FAILURE", resourceRef: text }] },
  });
  const leaked = all.executions.nodes.find(
    ({ actionRef, status }) => actionRef === "canary.leak" && status === "COMPLETED",
  );
  expect(leaked?.parameters).toEqual({ password: "[secret:password]", how: "every way" });
  expect(leaked?.result?.["data"]).toMatchObject({ raw: "[secret:password]", "[secret:password]": "as a key" });
  const requested = all.executions.nodes.find(({ actionRef }) => actionRef === "core.http_request");
  expect(requested?.error?.message).toContain("http://127.0.0.1:1/[secret:system.simple]");

  expect(found(JSON.stringify(responses))).toEqual([]);
  await until(
    () => seen[2]?.seen.length === 2 && seen[0] !== undefined && seen[0].seen.length > 10,
    "the messages of subscribers",
  );
  for (const stream of seen) expect(found(JSON.stringify(stream.seen))).toEqual([]);
  expect(found(JSON.stringify([{ canary }]))).not.toEqual([]); // the search finds the canary

  // A user with the grant can reveal it.
  const revealed = await must(
    `mutation { revealKey(input: {ref: "system.canary"}) { __typename ... on RevealKeyPayload { revealed { value key { ref } } } ${error} } }`,
  );
  expect(revealed["revealed"]).toEqual({ value: canary, key: { ref: "system.canary" } });
  expect(found(JSON.stringify(await request(server, everything)))).toEqual([]);
});

test("nor in the server's output or a dump of its database, and another key cannot decrypt it", async () => {
  for (const stream of seen) stream.drop();
  await server[Symbol.asyncDispose]();
  expect(server.output().length).toBeGreaterThan(10_000);
  expect(found(server.output())).toEqual([]);
  {
    await using services = await createServices(server.location);
    const tables = await rows<{ name: string }>(
      services.db,
      sql`select format('%I.%I', table_schema, table_name) as name from information_schema.tables
        where table_type = 'BASE TABLE' and table_schema in ('attune', 'attune_jobs', 'public')`,
    );
    const dump: string[] = [];
    for (const { name } of tables) {
      const found = await rows<{ text: string }>(services.db, sql.raw(`select t::text as text from ${name} t`));
      dump.push(
        ...found.map(({ text }) => text.replaceAll('""', '"').replaceAll("\\\\", "\\")),
        ...found.map(({ text }) => text),
      );
    }
    expect(dump.length).toBeGreaterThan(200);
    expect(dump.some((text) => text.includes("[secret:password]"))).toBe(true);
    expect(dump.flatMap(found)).toEqual([]);
  }
  const wrongKey = { ATTUNE__SECURITY__ENCRYPTION_KEY: "43".repeat(32) };
  const { child, output } = spawnServer(serverEnvironment(server.location, wrongKey));
  const code = await new Promise((resolve) => child.once("exit", resolve));
  expect(code).toBe(1);
  expect(output()).toMatch(
    /^Stored secrets were encrypted with the key [0-9a-f]{16}, which this process does not have: set [^\n]+\n$/,
  );
});
