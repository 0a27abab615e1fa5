import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cloneDatabase, onPostgres } from "../support/database.ts";
import { createProxy, type NetworkProxy } from "../support/proxy.ts";
import { request, type ServerProcess, serverEnvironment, spawnServer, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const executeNoop = `mutation { executeAction(input: {action: "core.noop"}) {
  ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`;

/** The environment of a server in which SIGUSR2 throws an error that nothing catches. */
const throwing = {
  NODE_OPTIONS: `--import data:text/javascript,process.on('SIGUSR2',()=>{throw(Error('uncaught'))})`,
};

// The embedded database has no network.
describe.runIf(onPostgres())("a server whose database", () => {
  let proxy: NetworkProxy;
  let server: ServerProcess;

  beforeAll(async () => {
    const location = await cloneDatabase("core");
    proxy = await createProxy(location.url ?? "");
    server = await startProcess({ ...location, url: proxy.url }, throwing);
  });
  afterAll(async () => {
    await server?.kill();
    await proxy?.[Symbol.asyncDispose]();
  });

  const probe = async (path: string) => {
    const from = performance.now();
    const response = await fetch(server.url + path);
    const { reason } = (await response.json()) as { reason?: string };
    return { status: response.status, reason, ms: performance.now() - from };
  };

  test("is cut and refused for a while goes on afterwards, in the same process", async () => {
    await request(server, executeNoop);
    proxy.become("refuse");
    proxy.cut();
    expect(await probe("/readyz")).toMatchObject({ status: 503, reason: expect.any(String) });
    expect(await probe("/healthz")).toMatchObject({ status: 200 });
    proxy.become("pass");
    await until(async () => (await probe("/readyz")).status === 200, "readiness");
    await until(() => request(server, executeNoop).catch(() => false), "an execution");
    expect(server.child.exitCode).toBeNull();
  });

  test("cannot be used makes requests fail with 503, Retry-After and UNAVAILABLE", async () => {
    const webhook = (
      await request<{ enableWebhook: { path: string } }>(
        server,
        `mutation { createTrigger(input: {ref: "default.hook"}) { __typename }
        enableWebhook(input: {trigger: "default.hook"}) { ... on EnableWebhookPayload { path } } }`,
      )
    ).enableWebhook.path;
    proxy.become("refuse");
    proxy.cut();
    const response = await fetch(server.url + webhook, { method: "POST", body: "{}" });
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
    await expect(request(server, executeNoop)).rejects.toThrow(/UNAVAILABLE/);
    proxy.become("pass");
    await until(
      async () => (await fetch(server.url + webhook, { method: "POST", body: "{}" })).status === 202,
      "an event",
    );
  });

  test("is lost during the start ends it with one sentence", async () => {
    await using other = await createProxy(server.location.url ?? "");
    const { child, output } = spawnServer(serverEnvironment({ ...server.location, url: other.url }));
    await until(() => other.connections() > 0 || child.exitCode !== null, "the first connection", 30_000);
    other.become("refuse");
    other.cut();
    await until(() => child.exitCode !== null, "the exit", 60_000);
    expect(child.exitCode).toBe(1);
    expect(output()).toMatch(/^The database .*(was lost during the start|cannot be reached) .*\n$/m);
    expect(output()).not.toMatch(/^ {4}at /m);
  }, 90_000);

  test("is silent is not ready, in time, and stops within its limit", async () => {
    proxy.become("silent");
    const probes = await Promise.all(Array.from({ length: 20 }, () => probe("/readyz")));
    for (const { status, reason, ms } of probes) {
      expect({ status, reason }).toEqual({ status: 503, reason: "the database has not responded for 1500 ms" });
      expect(ms).toBeLessThan(10_000); // under 2 s, but for a busy machine
    }
    expect((await probe("/healthz")).status).toBe(200);
    server.child.kill("SIGTERM");
    expect(await server.exited).toBe(1); // the database never responds
    expect(server.output()).toContain("stopping took too long");
  });

  test("throws an error that nothing catches logs it, stops, and exits with 1", async () => {
    proxy.become("pass");
    proxy.cut();
    server = await startProcess(server.location, throwing);
    server.child.kill("SIGUSR2");
    expect(await server.exited).toBe(1);
    expect(server.output()).toMatch(/"level":60.*uncaught|FATAL[\s\S]*uncaught/);
  });
});
