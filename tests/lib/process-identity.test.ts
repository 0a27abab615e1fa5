import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { isAlive, thisHost, thisProcess } from "../../src/lib/process-identity.ts";

test("this process is alive; one with its id but another start time, or one that does not exist, is not", () => {
  const self = thisProcess();
  expect(self).toEqual({ host: thisHost(), pid: process.pid, started: expect.stringMatching(/^\d+$/) });
  expect(isAlive(self)).toBe(true);
  expect(isAlive({ ...self, started: String(BigInt(self.started ?? 0) + 1n) })).toBe(false);
  expect(isAlive({ ...self, pid: 4_194_305 })).toBe(false);
  expect(isAlive({ ...self, started: null })).toBe(true);
});

test("another process is alive until it has ended", async () => {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  await once(child, "spawn");
  const identity = { host: thisHost(), pid: child.pid ?? 0, started: null };
  expect(isAlive(identity)).toBe(true);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(isAlive(identity)).toBe(false);
});
