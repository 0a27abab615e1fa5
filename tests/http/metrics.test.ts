import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMetrics } from "../../src/metrics.ts";
import { cloneDatabase, onPostgres } from "../support/database.ts";
import { createProxy } from "../support/proxy.ts";
import { type RunningServer, request, startInProcess, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

let server: RunningServer;
beforeAll(async () => {
  server = await startInProcess(undefined, { ATTUNE__DATABASE__RESERVE_MB: "1" });
});
afterAll(async () => await server[Symbol.asyncDispose]());

const scrape = (url: string, headers: Record<string, string> = {}) => fetch(`${url}/metrics`, { headers });

/** Reads the exposition: `name{labels}` to value. Throws for a line that is none of the format's. */
async function read(url: string, headers = {}): Promise<Map<string, number>> {
  const response = await scrape(url, headers);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  const lines = (await response.text()).split("\n").filter((line) => line !== "");
  const samples = lines.filter((line) => !/^# (HELP|TYPE) [a-z_\d]+ .+$/.test(line));
  return new Map(
    samples.map((line) => {
      const [, name, value] =
        /^([a-z_\d]+(?:\{(?:[a-z_]+="[^"]*",?)+\})?) (-?[\d.]+(?:e[+-]\d+)?|Nan|\+Inf)$/.exec(line) ?? [];
      if (name === undefined) throw new Error(`not a sample: ${line}`);
      return [name, Number(value)];
    }),
  );
}

test("counts what happens from the event to the result, and in the API", async () => {
  const before = await read(server.url);
  await request(server, 'mutation { createTrigger(input: {ref: "default.seen"}) { __typename } }');
  await request(
    server,
    'mutation { createRule(input: {ref: "default.see", trigger: "default.seen", action: "core.noop"}) { __typename } }',
  );
  await request(server, 'mutation { createEvent(input: {trigger: "default.seen", payload: {}}) { __typename } }');
  await fetch(`${server.url}/webhooks/none`, { method: "POST" });
  const grown = await until(async () => {
    const now = await read(server.url);
    const by = (name: string) => (now.get(name) ?? 0) - (before.get(name) ?? 0);
    return by("attune_event_result_seconds_count") === 1 ? by : null;
  }, "the result's metric");
  const once = ["attune_events_total", "attune_enforcements_total", "attune_executions_requested_total"];
  const timed = ["event_evaluation", "execution_queue", "execution_run"].map((name) => `attune_${name}_seconds_count`);
  const ended = ['attune_executions_ended_total{status="completed"}', 'attune_webhook_requests_total{status="404"}'];
  for (const name of [...once, ...timed, ...ended]) expect([name, grown(name)]).toEqual([name, 1]);
  expect(grown('attune_graphql_operations_total{kind="mutation",code="OK"}')).toBe(3);
  await fetch(`${server.url}/graphql?query={nothing}`);
  const after = await read(server.url);
  expect(after.get('attune_graphql_operations_total{kind="none",code="BAD_USER_INPUT"}')).toBe(1);
  expect(after.get("attune_database_up")).toBe(1);
  expect(after.get('attune_queue_depth{queue="event"}')).toBe(0);
  expect(after.get('attune_executions{status="running"}')).toBe(0);
  expect(after.get('attune_worker_slots{pool="process"}')).toBe(10);
  expect(after.get("attune_workers")).toBe(1);
  expect(after.get(`attune_sensors{status="running"}`)).toBe(0);
  const connections = [...after].filter(([name]) => name.startsWith("attune_database_connections{"));
  if (onPostgres()) expect(connections.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThan(0);
  else expect(connections).toEqual([]);
});

test("is readable from this machine, and elsewhere with a token that grants it", async () => {
  const elsewhere = { "x-forwarded-for": "203.0.113.7" };
  expect((await scrape(server.url, elsewhere)).status).toBe(401);
  expect((await scrape(server.url, { ...elsewhere, authorization: "Bearer att_api_none" })).status).toBe(403);
  expect((await scrape(server.url, { ...elsewhere, authorization: `Bearer ${server.token}` })).status).toBe(200);
});

test("a process without the API has its metrics and health on a port of its own", async () => {
  const location = await cloneDatabase("core");
  const roles = { ATTUNE__ROLES: "executor", ATTUNE__METRICS__PORT: "0" };
  // Embedded, a server with the API has written the credentials before.
  if (location.url === null) await (await startProcess(location))[Symbol.asyncDispose]();
  await using alone = await startProcess(location, roles);
  const [, url = ""] = /metrics are at (\S+)\/metrics/.exec(alone.output()) ?? [];
  const found = await read(url);
  expect(found.get("attune_database_up")).toBe(1);
  expect([...found.keys()].filter((name) => name.startsWith("nodejs_eventloop_lag")).length).toBeGreaterThan(3);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect((await fetch(`${url}/graphql`)).status).toBe(404);
});

// The embedded database has no network that could be lost.
describe.runIf(onPostgres())("a scrape without the database", () => {
  test("responds in time, without what only the database knows, and believes its token", {
    timeout: 30_000,
  }, async () => {
    const location = await cloneDatabase("core");
    await using proxy = await createProxy(location.url ?? "");
    await using own = await startInProcess({ ...location, url: proxy.url }, { ATTUNE__ROLES: "api" });
    // The token is looked up while the database is there, by this server's own connection.
    const elsewhere = { "x-forwarded-for": "203.0.113.7", authorization: `Bearer ${own.token}` };
    expect((await read(own.url, elsewhere)).get("attune_database_up")).toBe(1);
    proxy.become("silent");
    try {
      await until(async () => {
        const started = performance.now();
        const found = await read(own.url, elsewhere);
        expect(performance.now() - started).toBeLessThan(2000);
        return found.get("attune_database_up") === 0 && !found.has('attune_queue_depth{queue="event"}');
      }, "the loss of the database");
    } finally {
      proxy.become("pass");
      proxy.cut();
    }
    const again = await until(async () => {
      const found = await read(own.url);
      return found.get("attune_database_up") === 1 ? found : null;
    }, "the return of the database");
    expect(again.get('attune_queue_depth{queue="event"}')).toBe(0);
  });
});

test("docs/operations.md lists the metrics with their meaning", async () => {
  const listed = [...readFileSync("docs/operations.md", "utf8").matchAll(/^\| `(attune_\w+)` \| \w+ \| (.+) \|$/gm)];
  const metrics = await createMetrics().registry.getMetricsAsJSON();
  expect(listed.map(([, name, meaning]) => [name, meaning])).toEqual(metrics.map(({ name, help }) => [name, help]));
});
