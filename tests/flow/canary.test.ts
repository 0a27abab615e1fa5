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

/** Two values that must be seen nowhere: one that every encoding changes, one that URLs take as it is. */
const canary = 'Ünseen/+& "canary" \\ with<tags> 7Yk2Qw9Z';
const simple = "plainCanary0x5eA7vB3";
const pack = join(mkdtempSync(join(tmpdir(), "attune-canary-")), "canary");

/** Writes its password in every way, and says it in an event, an inquiry, an artifact and a ref by its own token. */
const leak = `import { readFileSync } from "node:fs";
const { password, how } = JSON.parse(readFileSync(0, "utf8"));
const bytes = Buffer.from(password);
process.stderr.write(password + "\\n" + bytes.toString("base64url") + "\\n");
if (how === "broken") {
  process.stdout.write(password);
} else {
  const answered = "{ __typename ... on Error { message } }";
  const query = "mutation ($payload: JSON, $text: String!) { createEvent(input: {trigger: \\"default.leaked\\", payload: $payload}) " + answered
    + " createInquiry(input: {prompt: $text, assignedTo: \\"admin\\"}) " + answered
    + " createArtifact(input: {ref: \\"leaked\\", type: PROGRESS, name: $text, description: $text}) " + answered
    + " deleteRule(input: {ref: $text}) " + answered + " }";
  const payload = { raw: password, [password]: 1, hex: bytes.toString("hex"), list: ["x" + password + "y"] };
  const token = readFileSync(process.env.ATTUNE_TOKEN_FILE, "utf8");
  const answer = await fetch(process.env.ATTUNE_API_URL + "/graphql", {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer " + token },
    body: JSON.stringify({ query, variables: { payload, text: "I was given " + password } }),
  });
  process.stdout.write(JSON.stringify({
    sent: await answer.json(), raw: password, json: JSON.stringify({ password }), url: encodeURIComponent(password),
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
  const [answer] = Object.values(await request<Record<string, Record<string, unknown>>>(server, document, variables));
  if (!answer || "message" in answer) throw new Error(JSON.stringify(answer));
  return answer;
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

const whatWasSaid = `{ inquiries { nodes { prompt } } artifacts(where: {ref: {eq: "leaked"}}) { nodes { name description } }
  auditEvents(where: {eventType: {eq: "deleteRule"}}) { nodes { outcome resourceRef } } }`;
interface Said {
  inquiries: { nodes: { prompt: string }[] };
  artifacts: { nodes: { name: string; description: string }[] };
  auditEvents: { nodes: { outcome: string; resourceRef: string }[] };
}

beforeAll(async () => {
  mkdirSync(join(pack, "actions"), { recursive: true });
  writeFileSync(join(pack, "pack.yaml"), "ref: canary\nlabel: Canary\nversion: 1.0.0\n");
  writeFileSync(
    join(pack, "actions/leak.yaml"),
    `ref: canary.leak\nlabel: Leak\nrunner_type: node\nentry_point: actions/leak.mjs\noutput_format: json
permission_set_refs: [core.editor]\nparameters:\n  password: {type: string, secret: true}\n  how: {type: string}\n`,
  );
  writeFileSync(join(pack, "actions/leak.mjs"), leak);
  server = await startProcess(undefined, {
    ATTUNE__PACKS__DIRS: pack,
    ATTUNE__LOG__LEVEL: "trace",
    ATTUNE__DATABASE__LOG_STATEMENTS: "true",
  });
});
afterAll(() => server[Symbol.asyncDispose]());

/** The canaries that the text holds, in whatever form. */
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

test("a secret that an action was given, and writes in every way, is found nowhere", async () => {
  const answers: unknown[] = [];
  for (const what of [
    `notificationCreated { channel activity content }`,
    `executionsChanged { execution { parameters result error reason logs(first: 50) { nodes { text } } } }`,
    `eventCreated { event { payload } }`,
    `enforcementChanged { enforcement { parameters error payload } }`,
  ]) {
    seen.push(overSocket(server, { query: `subscription { ${what} }` }));
  }
  answers.push(await setKey("canary", canary), await setKey("simple", simple));
  await must(`mutation { createTrigger(input: {ref: "default.start"}) { __typename ${error} } }`);
  await must(`mutation { createTrigger(input: {ref: "default.leaked"}) { __typename ${error} } }`);
  await createRule("default.shell", "core.shell", { command, args: ['{{ key("system.canary") }}'] });
  await createRule("default.echo", "core.echo", { message: 'Bearer {{ key("system.canary") }}' });
  await createRule("default.ask", "core.http_request", { url: 'http://127.0.0.1:1/{{ key("system.simple") }}' });
  answers.push(
    await must(`mutation { createEvent(input: {trigger: "default.start", payload: {}}) { __typename ${error} } }`),
  );
  answers.push(await execute("every way"), await execute("broken"));

  const all = await until(
    async () => {
      const now = await request<Everything>(server, everything);
      const { nodes } = now.executions;
      const leaked = now.events.nodes.some(({ triggerRef }) => triggerRef === "default.leaked");
      return nodes.length === 5 && leaked && nodes.every(({ status }) => /COMPLETED|FAILED/.test(status)) && now;
    },
    "every execution to end",
    20_000,
  );
  if (!all) throw new Error("never: `until` answers only what is true");
  for (const { id } of all.executions.nodes) {
    const log = overSocket(server, { query: `subscription { executionLog(id: "${id}") { text } }` });
    await log.ended;
    seen.push(log);
  }
  answers.push(all);

  // It ran with the secret, and what it wrote of it is marked.
  const ends = all.executions.nodes.map(
    ({ actionRef, status, error: fault }) => `${actionRef} ${status} ${fault?.code ?? ""}`,
  );
  expect(ends.sort()).toEqual([
    "canary.leak COMPLETED ",
    "canary.leak FAILED OUTPUT_INVALID",
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
  expect(textOf("core.echo", "STDOUT")).toBe("Bearer [secret:system.canary]\n");
  expect(all.events.nodes.find(({ triggerRef }) => triggerRef === "default.leaked")?.payload).toEqual({
    raw: "[secret:password]",
    "[secret:password]": 1,
    hex: "[secret:password]",
    list: ["x[secret:password]y"],
  });
  const said = await request<Said>(server, whatWasSaid);
  answers.push(said);
  const text = "I was given [secret:password]";
  expect(said).toEqual({
    inquiries: { nodes: [{ prompt: text }] },
    artifacts: { nodes: [{ name: text, description: text }] },
    auditEvents: { nodes: [{ outcome: "FAILURE", resourceRef: text }] },
  });
  const leaked = all.executions.nodes.find(
    ({ actionRef, status }) => actionRef === "canary.leak" && status === "COMPLETED",
  );
  expect(leaked?.parameters).toEqual({ password: "[secret:password]", how: "every way" });
  expect(leaked?.result?.["data"]).toMatchObject({ raw: "[secret:password]", "[secret:password]": "as a key" });
  const asked = all.executions.nodes.find(({ actionRef }) => actionRef === "core.http_request");
  expect(asked?.error?.message).toContain("http://127.0.0.1:1/[secret:system.simple]");

  expect(found(JSON.stringify(answers))).toEqual([]);
  await until(
    () => seen[2]?.seen.length === 2 && seen[0] !== undefined && seen[0].seen.length > 10,
    "what subscribers were told",
  );
  for (const stream of seen) expect(found(JSON.stringify(stream.seen))).toEqual([]);
  expect(found(JSON.stringify([{ canary }]))).not.toEqual([]); // the search finds what it looks for

  // It can be revealed by whoever may, and only then.
  const revealed = await must(
    `mutation { revealKey(input: {ref: "system.canary"}) { __typename ... on RevealKeyPayload { revealed { value key { ref } } } ${error} } }`,
  );
  expect(revealed["revealed"]).toEqual({ value: canary, key: { ref: "system.canary" } });
  expect(found(JSON.stringify(await request(server, everything)))).toEqual([]);
});

test("nor in what the server wrote, nor in a dump of its database; and another key cannot read it", async () => {
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
