import { spawn } from "node:child_process";
import { once } from "node:events";
import { sql } from "drizzle-orm";
import { expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { loseExecutions } from "../../src/execution/lose.ts";
import { executionVariable, workerVariable } from "../../src/lib/action-processes.ts";
import { globalId } from "../../src/lib/global-id.ts";
import { thisProcess } from "../../src/lib/process-identity.ts";
import { createRunner } from "../../src/worker/runner.ts";
import { createWorld } from "../support/world.ts";

test("a process that was stopped between its claim and the action's start does not start what it has lost meanwhile", async () => {
  await using world = await createWorld();
  const { services } = world;
  const host = {
    ...{
      base: {},
      engineBase: {},
      apiUrl: "",
      runAs: null,
      releases: new Map(),
      interpreters: new Map(),
      scratch: "/nonexistent",
    },
    reach: () => Promise.reject(new Error("unused")),
    environments: { enter: () => Promise.reject(new Error("unused")) },
    issueToken: () => Promise.resolve(null),
  };
  const runner = createRunner(services, host as unknown as Parameters<typeof createRunner>[1], () => {});
  const worker = await world.workerRow();
  const claimOne = async () => {
    await world.execute("core.noop");
    const { claims } = await write(services, (tx) =>
      claimExecutions(tx, worker, { runtimeRef: "core.action.builtin", limit: 1 }),
    );
    const [claim] = claims;
    if (!claim) throw new Error("nothing was claimed");
    return claim;
  };
  const old = performance.now() - 11_000;
  const [lost, own] = [await claimOne(), await claimOne()];
  await write(services, (tx) => loseExecutions(tx, sql`e.id = ${lost.id}::bigint`, "the worker was lost"));
  runner.begin(lost, old);
  runner.begin(own, old);
  await runner.drain(10_000);
  expect(await world.execution(own.id)).toMatchObject({ status: "completed" });
  expect((await world.execution(lost.id)).status).toBe("scheduled");
  // A late result would be in the timeline: it was not run at all.
  expect((await world.timeline(lost.id)).at(-1)).toBe("running>scheduled");
});

test("a later attempt ends what its own earlier workers left, and nothing of another installation with the same ids", async () => {
  await using world = await createWorld();
  const { services } = world;
  const worker = await world.workerRow();
  /** Above the highest process id of Linux. */
  const own = { ...thisProcess(), pid: 4_194_305 };
  const foreign = { ...own, pid: 4_194_306 };
  await world.all(
    sql`update attune.worker set meta = ${JSON.stringify({ process: own })}::text::jsonb where id = ${worker.id}::bigint`,
  );
  const id = await world.execute("core.noop");
  await write(services, (tx) => claimExecutions(tx, worker, { runtimeRef: "core.action.builtin", limit: 1 }));
  await write(services, (tx) => loseExecutions(tx, sql`e.id = ${id}::bigint`, "the worker was lost"));
  const start = ({ host, pid, started }: typeof own) =>
    spawn("sleep", ["64"], {
      detached: true,
      env: {
        PATH: "/usr/bin:/bin",
        [executionVariable]: globalId("Execution", id),
        [workerVariable]: `${host} ${pid} ${started}`,
      },
    });
  const [left, kept] = [start(own), start(foreign)];
  const ended = once(left, "exit");
  await world.startWorker();
  expect(await world.ended(id)).toMatchObject({ status: "completed", attempt: 2 });
  expect(await ended).toEqual([null, "SIGKILL"]);
  expect(kept.exitCode ?? kept.signalCode).toBeNull();
  kept.kill("SIGKILL");
});
