import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createTrigger } from "../../src/catalog/trigger.ts";
import { createRule } from "../../src/rule/rule.ts";
import { commit } from "../support/commit.ts";
import { type Location, onPostgres } from "../support/database.ts";
import { request, startInProcess, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { createWorld } from "../support/world.ts";

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  attributes: { key: string; value: Record<string, unknown> }[];
  status: { code?: number; message?: string };
  process: number;
}
interface Export {
  resourceSpans: {
    resource: { attributes: { key: string; value: { intValue?: number } }[] };
    scopeSpans: { spans: Omit<Span, "process">[] }[];
  }[];
}

/** A receiver of OTLP over HTTP. */
let receiver: Server;
let spans: Span[] = [];
/** Whether it responds. */
let isSilent = false;
let location: Location;

beforeAll(async () => {
  receiver = createServer((message, response) => {
    let text = "";
    message.setEncoding("utf8").on("data", (piece) => {
      text += piece;
    });
    message.on("end", () => {
      if (isSilent) return;
      for (const { resource, scopeSpans } of (JSON.parse(text) as Export).resourceSpans) {
        const process = resource.attributes.find(({ key }) => key === "process.pid")?.value.intValue ?? 0;
        spans.push(
          ...scopeSpans.flatMap((scope) => scope.spans.map((span) => ({ ...span, process: Number(process) }))),
        );
      }
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });
  receiver.listen(0, "127.0.0.1");
  await once(receiver, "listening");
  await using world = await createWorld();
  location = world.services.location;
  await commit(world.services, createTrigger, world.session, { ref: "default.traced" });
  await world.services.db.execute(
    sql`update attune.trigger set webhook_enabled = true, webhook_key = 'traced' where ref = 'default.traced'`,
  );
  const rule = { trigger: "default.traced", action: "core.shell", actionParams: { command: 'echo "$TRACEPARENT"' } };
  await commit(world.services, createRule, world.session, { ref: "default.traced_rule", ...rule });
});
afterAll(() => receiver.close());
beforeEach(() => {
  spans = [];
  isSilent = false;
});

const endpoint = () => {
  const address = receiver.address();
  return `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
};
const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const header = `00-${traceId}-00f067aa0ba902b7-01`;
const post = (url: string, headers: Record<string, string> = {}) =>
  fetch(`${url}/webhooks/traced`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: "{}",
  });

interface Read {
  executions: { nodes: { id: string; status: string; log: { nodes: { text: string }[] } }[] };
}
/** Returns what the newest action printed, once that is as expected. */
async function printed(server: { url: string; token: string }, expected: RegExp): Promise<string> {
  const document =
    "{ executions(first: 1, orderBy: {field: CREATED, direction: DESC}) { nodes { status log: logs(first: 9) { nodes { text } } } } }";
  const found = await until(async () => {
    const [execution] = (await request<Read>(server, document)).executions.nodes;
    const text =
      execution?.log.nodes
        .map((each) => each.text)
        .join("")
        .trim() ?? "";
    return execution?.status === "COMPLETED" && expected.test(text) && { text };
  }, `an output like ${expected}`);
  return found ? found.text : "";
}

test("one trace leads from a webhook's sender to the action's process, across the processes of the server", async () => {
  const settings = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint() };
  const roles = onPostgres() ? "api,executor" : "api,executor,worker";
  await using server = await startInProcess(location, { ...settings, ATTUNE__ROLES: roles });
  await using _worker = onPostgres() ? await startProcess(location, { ...settings, ATTUNE__ROLES: "worker" }) : null;
  expect((await post(server.url, { traceparent: header })).status).toBe(202);
  const line = await printed(server, new RegExp(traceId));
  const names = ["POST /webhooks/:key", "event default.traced", "evaluate rules", "execute core.shell"];
  await until(
    () => names.every((name) => spans.some((span) => span.name === name && span.traceId === traceId)),
    "all spans",
  );
  const [http, event, evaluated, executed] = names.map((name) => spans.find((span) => span.name === name));
  expect(http?.parentSpanId).toBe("00f067aa0ba902b7");
  expect(event?.parentSpanId).toBe(http?.spanId);
  expect(evaluated?.parentSpanId).toBe(event?.spanId);
  expect(executed?.parentSpanId).toBe(evaluated?.spanId);
  // The action can continue the trace below its own execution.
  expect(line).toBe(`00-${traceId}-${executed?.spanId}-01`);
  const attributes = Object.fromEntries(
    executed?.attributes.map(({ key, value }) => [key, Object.values(value)[0]]) ?? [],
  );
  expect(attributes).toMatchObject({ "attune.action": "core.shell", "attune.status": "completed" });
  expect(JSON.stringify(spans)).not.toContain("/webhooks/traced"); // the key of a webhook is a secret
  if (onPostgres()) expect(executed?.process).not.toBe(http?.process);
});

test("a request without a trace begins one, and one that is not sampled is not recorded", async () => {
  const settings = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${endpoint()}/v1/traces` };
  await using server = await startInProcess(location, settings);
  const document = `mutation { executeAction(input: {action: "core.shell", parameters: {command: "exit 3"}}) { ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`;
  await request(server, document);
  await until(() => spans.some(({ name }) => name === "execute core.shell"), "the execution's span");
  const executed = spans.find(({ name }) => name === "execute core.shell");
  expect(executed?.status).toMatchObject({ code: 2, message: "The action exited with code 3." });
  const root = spans.find(({ name, spanId }) => name === "POST /graphql" && spanId === executed?.parentSpanId);
  expect(root).toMatchObject({ traceId: executed?.traceId });
  expect(root?.parentSpanId ?? "").toBe("");

  await post(server.url, { traceparent: `00-${"c".repeat(32)}-00f067aa0ba902b7-00` });
  await post(server.url, { traceparent: header });
  await until(
    () => spans.some((span) => span.traceId === traceId && span.name === "execute core.shell"),
    "the sampled one",
  );
  expect(spans.filter((span) => span.traceId === "c".repeat(32))).toEqual([]);
});

test("an endpoint that does not respond delays nothing", async () => {
  isSilent = true;
  await using server = await startInProcess(location, { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint() });
  for (let round = 0; round < 20; round += 1) expect((await post(server.url)).status).toBe(202);
  await printed(server, /^00-/);
  const from = Date.now();
  await server[Symbol.asyncDispose]();
  expect(Date.now() - from).toBeLessThan(10_000);
});

test("without an endpoint the sender's context is passed to the action as it came, and no other is made", async () => {
  await using server = await startInProcess(location);
  await post(server.url, { traceparent: header });
  await printed(server, new RegExp(`^${header}$`));
  await post(server.url, { traceparent: "00-0-0-01" });
  await printed(server, /^$/);
});
