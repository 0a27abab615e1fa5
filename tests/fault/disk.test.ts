import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, cpSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cloneDatabase, type Location, onPostgres } from "../support/database.ts";
import {
  type RunningServer,
  request,
  serverEnvironment,
  spawnServer,
  startInProcess,
  startProcess,
} from "../support/server.ts";
import { until } from "../support/until.ts";

const MiB = 1024 * 1024;
const mounts: string[] = [];

/** Returns a directory on a disk of its own; null where this user may not mount one. */
function mountDisk(): string | null {
  const directory = mkdtempSync(join(tmpdir(), "attune-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=400m", "tmpfs", directory], { stdio: "ignore" });
    mounts.push(directory);
    return directory;
  } catch {
    rmSync(directory, { recursive: true });
    return null;
  }
}

afterAll(() => {
  for (const directory of mounts) {
    execFileSync("umount", ["--lazy", directory]);
    rmSync(directory, { recursive: true });
  }
});

const disk = onPostgres() ? null : mountDisk();

/** Leaves that many bytes of the disk free, by a file of another program. */
function fill(directory: string, left: number): void {
  const { bavail, bsize } = statfsSync(directory);
  const file = openSync(join(directory, "filler"), "a");
  const block = Buffer.alloc(MiB, 1);
  for (let free = bavail * bsize; free - MiB >= left; free -= MiB) writeSync(file, block);
  closeSync(file);
}
const empty = (directory: string) => rmSync(join(directory, "filler"), { force: true });

const create = `mutation {
  createTrigger(input: {ref: "default.disk"}) { ... on Error { message } }
  enableWebhook(input: {trigger: "default.disk"}) { ... on EnableWebhookPayload { path } ... on Error { message } }
  createRule(input: {ref: "default.disk", trigger: "default.disk", action: "core.noop"}) { ... on Error { message } } }`;
const execute = `mutation($action: String!, $parameters: JSONObject) { executeAction(input: {action: $action, parameters: $parameters}) {
  __typename ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`;
const statusOf = `query($id: ID!) { execution(id: $id) { status } }`;

// Only Linux has it, and only for root.
describe.runIf(disk !== null)("a full disk of the embedded database", () => {
  let server: RunningServer;
  let location: Location;
  let webhook: string;
  const ready = async () => await fetch(`${server.url}/readyz`);
  const post = () => fetch(webhook, { method: "POST", body: "{}", headers: { "content-type": "application/json" } });
  const run = (action: string, parameters: object = {}) =>
    request<{ executeAction: { execution: { id: string } } }>(server, execute, { action, parameters });

  beforeAll(async () => {
    const clone = await cloneDatabase("core");
    location = { url: null, dataDir: join(disk ?? "", "data") };
    cpSync(clone.dataDir, location.dataDir, { recursive: true });
    server = await startInProcess(location, { ATTUNE__DATABASE__RESERVE_MB: "150" });
    const created = await request<{ enableWebhook: { path: string } }>(server, create);
    webhook = new URL(created.enableWebhook.path, server.url).href;
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test("refuses new work with the reason before it is full, ends what is under way, and goes on when there is room", async () => {
    expect((await post()).status).toBe(202);
    const { executeAction } = await run("core.sleep", { seconds: 2 });
    const { id } = executeAction.execution;
    await until(
      async () =>
        (await request<{ execution: { status: string } }>(server, statusOf, { id })).execution.status === "RUNNING",
      "the execution to run",
    );
    fill(disk ?? "", 80 * MiB);
    const refusal = await until(async () => {
      const response = await ready();
      return response.status === 503 ? ((await response.json()) as { reason: string }) : null;
    }, "the readiness fault");
    expect(refusal.reason).toMatch(
      /^the disk of the database has \d+ MiB free, less than the 150 MiB of ATTUNE__DATABASE/,
    );

    const refused = await post();
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "30"]);
    expect(await refused.text()).toContain("No new work is taken: the disk of the database has");
    await expect(run("core.noop")).rejects.toThrow("INSUFFICIENT_STORAGE");
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    await until(
      async () =>
        (await request<{ execution: { status: string } }>(server, statusOf, { id })).execution.status === "COMPLETED",
      "what was under way to end",
    );
    const { cancelExecution } = await request<{ cancelExecution: { message: string } }>(
      server,
      `mutation($id: ID!) { cancelExecution(input: {id: $id}) { ... on Error { message } } }`,
      { id },
    );
    expect(cancelExecution.message).not.toContain("room"); // it is allowed; this one has ended
    expect(server.output()).toContain("no new work is taken");

    empty(disk ?? "");
    await until(async () => (await ready()).status === 200, "readiness");
    const { executeAction: later } = await run("core.noop");
    expect((await post()).status).toBe(202);
    await until(
      async () =>
        (await request<{ execution: { status: string } }>(server, statusOf, { id: later.execution.id })).execution
          .status === "COMPLETED",
      "the work to go on",
    );
  });

  test("refuses a start that could fill it, and allows it once there is room", async () => {
    await server[Symbol.asyncDispose]();
    fill(disk ?? "", 30 * MiB);
    const { child, output } = spawnServer(serverEnvironment(location));
    const [code] = await once(child, "exit");
    expect(code).toBe(1);
    expect(output()).toMatch(
      /^The disk of \S+ has \d\d MiB free, less than the 256 MiB of ATTUNE__DATABASE__RESERVE_MB: free/m,
    );
    empty(disk ?? "");
    await using started = await startProcess(location, { ATTUNE__DATABASE__RESERVE_MB: "100" });
    expect((await fetch(`${started.url}/readyz`)).status).toBe(200);
  });
});

test("a process whose thread is stuck is killed with the reason; one that is busy, waits or was stopped is not", async () => {
  const script = `
    const { startWatchdog } = await import("./src/lib/watchdog.ts");
    startWatchdog({ limitSeconds: 2, message: "stuck\\n" });
    const busy = (ms) => { const end = Date.now() + ms; while (Date.now() < end); };
    busy(1000);
    console.log("stop me");
    await new Promise((resolve) => setTimeout(resolve, 3000));
    console.log("alive");
    for (;;);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  const exited = once(child, "exit");
  await until(() => output.includes("stop me"), "the script");
  child.kill("SIGSTOP");
  const resume = setTimeout(() => child.kill("SIGCONT"), 4000); // longer than the limit
  const [code, signal] = await exited;
  clearTimeout(resume);
  expect([code, signal, output]).toEqual([null, "SIGKILL", "stop me\nalive\nstuck\n"]);
});
