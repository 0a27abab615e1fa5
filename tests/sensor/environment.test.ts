import { chmodSync } from "node:fs";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rebuildEnvironment } from "../../src/catalog/environment.ts";
import { commit } from "../support/commit.ts";
import { packDirectories } from "../support/pack.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";
import { sensorPack, watching } from "./pack.ts";

const write = packDirectories();
let world: World;

beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const program = `
const text = require("greet");
console.log(JSON.stringify({ trigger: "watch.greeter", payload: { n: 1, text: text + " in " + process.cwd() } }));
setInterval(() => {}, 60000);
`;
const filesWith = (library: string) =>
  sensorPack(
    { greeter: { runner: "node", program } },
    {
      "package.json": JSON.stringify({ dependencies: { greet: library } }),
      "lib/package.json": JSON.stringify({ name: "greet", version: "1.0.0" }),
      "lib/index.js": `module.exports = "hello from a library";`,
    },
  );

test("a sensor whose environment cannot be built says so, and runs in that of the next release of its pack", async () => {
  const watch = watching(world);
  const directory = write(filesWith("no version!"));
  await watch.load(directory);
  await world.rule("watch.greeter", { triggerParams: { path: "/" } });
  world.startSensors();
  const failed = await until(
    async () => {
      const row = await watch.processOf("greeter");
      return row?.lastError ? row : null;
    },
    "its error",
    20_000,
  );
  expect(failed).toMatchObject({ status: "waiting", restarts: 1, failures: 1, pid: null });
  expect(failed.lastError).toMatch(/^The environment of the pack "watch" for core.action.nodejs could not be built/);

  await watch.load(write(filesWith("file:./lib"), directory));
  await until(async () => (await watch.payloads("greeter")).length > 0, "its event", 20_000);
  const texts = async () => (await watch.payloads("greeter")).map((payload) => (payload as { text: string }).text);
  const path = async () =>
    (
      await world.one<{
        path: string;
      }>(sql`select e.path from attune.pack_environment e join attune.pack p on p.id = e.pack
        where p.ref = 'watch' and e.status = 'ready'`)
    ).path;
  const first = await path();
  expect(await texts()).toEqual([expect.stringContaining(`hello from a library in ${first}/`)]);
  expect(await watch.log("greeter", "system")).toMatch(/could not be built[\s\S]*started again in 1 s/);

  const { generation } = (await watch.processOf("greeter")) ?? {};
  await commit(world.services, rebuildEnvironment, world.session, { pack: "watch", runtime: "core.action.nodejs" });
  await until(async () => (await texts()).length > 1, "the event of its next start", 20_000);
  const second = await path();
  expect(second).not.toBe(first);
  expect((await texts())[1]).toContain(`hello from a library in ${second}/`);
  expect(await watch.log("greeter", "system")).toContain(
    "Its environment was built anew: it is started again in that.",
  );
  expect(await watch.processOf("greeter")).toMatchObject({ failures: 0 });
  expect((await watch.processOf("greeter"))?.generation).not.toBe(generation);
}, 60_000);

const isRoot = process.platform === "linux" && process.getuid?.() === 0;

// Only root can start a process of another user.
describe.runIf(isRoot)("a sensor of another user", () => {
  test("reads its files in its own environment", async () => {
    await using other = await createWorld();
    const watch = watching(other);
    const files = filesWith("file:./lib");
    const reading = `
const { readFileSync } = require("node:fs");
const text = [require("greet"), readFileSync(process.env.ATTUNE_PARAMETER_FILE, "utf8").trim(), readFileSync(process.env.ATTUNE_TOKEN_FILE, "utf8").length].join();
console.log(JSON.stringify({ trigger: "watch.greeter", payload: { n: process.getuid(), text } }));
setInterval(() => {}, 60000);
`;
    const directory = write({ ...files, "sensors/greeter": reading });
    chmodSync(directory, 0o755);
    await watch.load(directory);
    await other.rule("watch.greeter");
    other.startSensors({}, { runAs: { uid: 65534, gid: 65534 } });
    await until(async () => (await watch.payloads("greeter")).length > 0, "its event", 20_000);
    expect(await watch.payloads("greeter")).toEqual([{ n: 65534, text: "hello from a library,{},54" }]);
  }, 40_000);
});
