import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isAtLeast } from "../../src/process/interpreters.ts";
import { findRuntimes } from "../../src/worker/registry.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let directory: string;
beforeAll(async () => {
  world = await createWorld();
  directory = await mkdtemp(join(tmpdir(), "attune-version-"));
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

test.each([
  ["Python 3.11.2", "3.8.0", true],
  ["Python 3.7.17", "3.8.0", false],
  ["v24.1.0", "18.0.0", true],
  ["v9.0.0", "18.0.0", false],
  ["Lua 5.4", "5.4.0", true],
  ["5", "5.1", false],
  ["3.10", "3.9", true],
  ["no number", "3.8.0", true],
  ["Python 3.7.17", null, true],
])("%s is at least %s: %s", (text, version, right) => {
  expect(isAtLeast(text, version)).toBe(right);
});

test("an interpreter that is older than its runtime requires is not used", async () => {
  const pythonOf = async (version: string) => {
    const path = join(directory, "python3");
    await writeFile(path, `#!/bin/sh\necho Python ${version}\n`);
    await chmod(path, 0o755);
    const found = await findRuntimes(world.services, directory);
    return found.find(({ ref }) => ref === "core.action.python")?.version ?? null;
  };
  expect(await pythonOf("3.7.17")).toBeNull();
  expect(await pythonOf("3.8.1")).toBe("Python 3.8.1");
});
