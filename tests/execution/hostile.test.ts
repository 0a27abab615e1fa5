import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadPack } from "../../src/catalog/load.ts";
import { readPack } from "../../src/catalog/read.ts";
import { write } from "../../src/db/tx.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { isTerminal } from "../../src/execution/states.ts";
import { packRules } from "../../src/rule/check.ts";
import { commit } from "../support/commit.ts";
import { processesWith } from "../support/processes.ts";
import { request, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const mib = 1024 * 1024;
const marker = "[output truncated: the limit of 10 MiB was reached]\n";
const directory = mkdtempSync(join(tmpdir(), "attune-hostile-"));

/** Actions that receive their parameters by stdin, with their scripts. */
const scripts = {
  deaf: "exit 3",
  closing: "exec <&-; sleep 0.2; exit 3",
  nibbling: "head -c 10 >/dev/null; exit 3",
};

let world: World;
beforeAll(async () => {
  world = await createWorld();
  mkdirSync(join(directory, "actions"));
  writeFileSync(join(directory, "pack.yaml"), "ref: hostile\nlabel: Hostile\nversion: 1.0.0\n");
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(directory, `actions/${name}.sh`), `${script}\n`);
    writeFileSync(
      join(directory, `actions/${name}.yaml`),
      `ref: hostile.${name}\nlabel: x\nrunner_type: shell\nentry_point: actions/${name}.sh\nparameter_delivery: stdin\nparameters:\n  padding:\n    type: string\n`,
    );
  }
  writeFileSync(join(directory, "actions/words.sh"), '[[ bash == b* ]] && echo "run by bash"\n');
  writeFileSync(
    join(directory, "actions/words.yaml"),
    "ref: hostile.words\nlabel: x\nrunner_type: bash\nentry_point: actions/words.sh\n",
  );
  const read = await readPack(directory);
  await write(world.services, (tx) => loadPack(tx, read, packRules));
  await world.startWorker();
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

// Where there is no bash, its executions fail with the missing runtime as the reason, like those of any other.
test("an action for bash is run by bash", async () => {
  const row = await world.ended(await world.execute("hostile.words"));
  expect(row).toMatchObject({ status: "completed" });
  expect(await world.log(row.id, "stdout")).toBe("run by bash\n");
});

/** Runs core.noop and returns the time from its request to its end, in milliseconds. */
async function runNoop(): Promise<number> {
  const from = performance.now();
  const row = await world.ended(await world.execute("core.noop"));
  expect(row.status).toBe("completed");
  return performance.now() - from;
}

let count = 0;
/** A unique duration for `sleep`, by which its processes are found. */
function uniqueSeconds(): string {
  count += 1;
  return `9${process.pid}.${count}`;
}

/** Waits for the execution's end; meanwhile and afterwards no core.noop has to wait for it. */
async function survive(id: string) {
  let slowest = 0;
  do {
    slowest = Math.max(slowest, await runNoop());
    await new Promise((resolve) => setTimeout(resolve, 50)); // keeps this test from loading the server itself
  } while (!isTerminal((await world.execution(id)).status));
  slowest = Math.max(slowest, await runNoop());
  expect(slowest).toBeLessThan(4000); // a fraction of a second, but for a busy machine
  return await world.execution(id);
}

describe("a hostile action", () => {
  test.each(Object.keys(scripts))("that is %s to its input ends with its own exit code", async (name) => {
    const id = await world.execute(`hostile.${name}`, { padding: "x".repeat(900_000) });
    expect(await survive(id)).toMatchObject({ status: "failed", result: { exit_code: 3 } });
  });

  test("that leaves grandchildren running ends with its own process, and they are killed", async () => {
    const seconds = uniqueSeconds();
    const command = `(trap '' TERM; sleep ${seconds}) & sleep ${seconds} & (sleep ${seconds} >/dev/null 2>&1 &) ; echo $!`;
    const id = await world.execute("core.shell", { command });
    expect(await survive(id)).toMatchObject({ status: "completed" });
    expect(processesWith(seconds)).toEqual([]);
    expect(await world.log(id, "system")).toContain("left behind");
  });
});

// Concurrent, because each takes the whole grace period of SIGTERM.
describe.concurrent("a hostile action that ignores SIGTERM", () => {
  test("is killed after its time-out, with its children", async () => {
    const seconds = uniqueSeconds();
    const command = `trap '' TERM; sleep ${seconds} & while :; do sleep 0.1; done`;
    const id = await world.execute("core.shell", { command }, 1);
    await until(() => processesWith(seconds).length === 1, "its child");
    expect(await survive(id)).toMatchObject({ status: "timeout", error: { code: "TIMEOUT" } });
    expect(processesWith(seconds)).toEqual([]);
    expect(await world.log(id, "system")).toMatch(/SIGTERM was sent[\s\S]*SIGKILL was sent/);
  });

  test("is killed after a cancel, with its children", async () => {
    const seconds = uniqueSeconds();
    const command = `trap '' TERM; sleep ${seconds} & while :; do sleep 0.1; done`;
    const id = await world.execute("core.shell", { command });
    await until(() => processesWith(seconds).length === 1, "its child");
    await commit(world.services, cancelExecution, world.session, { id: BigInt(id), reason: null });
    expect(await survive(id)).toMatchObject({ status: "cancelled" });
    expect(processesWith(seconds)).toEqual([]);
  });
});

const flood = `yes 0123456789abcde | head -c ${50 * mib}; echo end >&2`;

test("an action that floods its output delays no other; its log contains 10 MiB and the marker", async () => {
  const id = await world.execute("core.shell", { command: flood });
  const row = await survive(id);
  expect(row.status).toBe("completed");
  // Too long for a row: it became an artifact, which the result names.
  expect(row.result).toMatchObject({ exit_code: 0, artifact: "core.shell/result", size: 10 * mib - 1 });
  const { kept, last } = await world.one<{ kept: number; last: string }>(
    sql`select (sum(octet_length(text)) - ${marker.length}::int)::int as kept,
        (select right(text, ${marker.length}::int) from attune.execution_log
          where execution = ${id}::bigint and stream = 'stdout' order by seq desc limit 1) as last
      from attune.execution_log where execution = ${id}::bigint and stream = 'stdout'`,
  );
  expect({ kept, last }).toEqual({ kept: 10 * mib, last: marker });
  // The other stream is complete: each has its own limit.
  expect(await world.log(id, "stderr")).toBe("end\n");
});

test("an action that floods its output costs the server less than 64 MiB", async () => {
  await using server = await startProcess();
  const file = join(directory, "done");
  const run = async (action: string, parameters: object = {}) => {
    const { executeAction } = await request<{ executeAction: { execution: { id: string } } }>(
      server,
      `mutation ($input: ExecuteActionInput!) { executeAction(input: $input) {
        ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`,
      { input: { action, parameters } },
    );
    // The cost of polling must not be measured: poll only after the action has written its file.
    await until(() => existsSync(file) || action === "core.noop", `the file of ${action}`);
    rmSync(file, { force: true });
    await until(async () => {
      const { execution } = await request<{ execution: { status: string } }>(
        server,
        "query ($id: ID!) { execution(id: $id) { status } }",
        executeAction.execution,
      );
      return execution.status === "COMPLETED";
    }, `the end of ${action}`);
  };
  // Warms up: compiled code and a heap that ordinary work has filled once.
  for (let n = 0; n < 50; n += 1) await run("core.noop");
  for (let n = 0; n < 3; n += 1) await run("core.shell", { command: `yes ordinary | head -c ${2 * mib}; : > ${file}` });
  const before = residentBytes(server.child.pid);
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, residentBytes(server.child.pid));
  }, 5);
  await run("core.shell", { command: `${flood}; : > ${file}` });
  clearInterval(watch);
  expect(peak - before).toBeLessThan(64 * mib);
}, 90_000); // it takes ten seconds alone

function residentBytes(pid: number | undefined): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}
