import { once } from "node:events";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { until } from "../support/until.ts";
import { createWorld, type Part, type World } from "../support/world.ts";

const write = packDirectories();
let world: World;
let sensors: Part;
let directory: string;
let pages: Server;
let page = "first";

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "attune-watched-"));
  pages = createServer((_request, response) => response.end(page)).listen(0, "127.0.0.1");
  await once(pages, "listening");
  world = await createWorld();
  await loadDirectory(world.services, "packs/examples");
  await world.all(sql`update attune.sensor set config = '{"interval": 0.1}' where ref = 'examples.directory'`);
  await world.rule("examples.file_found", { triggerParams: { path: directory } });
  const url = `http://127.0.0.1:${(pages.address() as AddressInfo).port}/`;
  await world.rule("examples.page_changed", { triggerParams: { url, interval: 0.1 } });
  sensors = world.startSensors();
}, 30_000);
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  pages.close();
  rmSync(directory, { recursive: true });
});

const payloads = async (trigger: string) =>
  (
    await world.all<{ payload: Record<string, unknown> }>(
      sql`select payload from attune.event where trigger_ref = ${trigger} order by id`,
    )
  ).map(({ payload }) => payload);

/** Puts a file into the directory at once: a scan never finds half of it. */
function put(name: string, text: string): void {
  const unseen = `${directory}-${name}`;
  writeFileSync(unseen, text);
  renameSync(unseen, join(directory, name));
}

describe("the pack of examples", () => {
  test("finds each file of a directory once, also those that came while it did not run", async () => {
    const names = async () => (await payloads("examples.file_found")).map(({ name }) => name);
    put("a.txt", "one");
    await until(async () => (await names()).includes("a.txt"), "the first file");
    await sensors.stop();
    put("b.txt", "four");
    sensors = world.startSensors();
    await until(async () => (await names()).includes("b.txt"), "the second file");
    put("c.txt", "three");
    await until(async () => (await names()).includes("c.txt"), "the third file");
    expect(await names()).toEqual(["a.txt", "b.txt", "c.txt"]);
    const [first] = await payloads("examples.file_found");
    expect(first).toEqual({ directory, name: "a.txt", size: 3, modified: expect.any(Number) });
  });

  test("finds the changes of a page", async () => {
    await until(async () => (await payloads("examples.page_changed")).length === 1, "its first content");
    page = "second";
    await until(async () => (await payloads("examples.page_changed")).length === 2, "its second content");
    page = "first";
    await until(async () => (await payloads("examples.page_changed")).length === 3, "its first content again");
    const hashes = (await payloads("examples.page_changed")).map(({ sha256 }) => sha256);
    expect(hashes[0]).toBe(hashes[2]);
    expect(hashes[1]).not.toBe(hashes[2]);
  });
});

test("the sensor of docs/sensors.md emits the event that is shown there", async () => {
  const text = readFileSync("docs/sensors.md", "utf8");
  const block = (language: string) => new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(text)?.[1] ?? "";
  const shown = JSON.parse(block("json"));
  const files = {
    "pack.yaml": "ref: example\nlabel: Example\nversion: 1.0.0\n",
    "triggers/file_created.yaml":
      "ref: example.file_created\nlabel: File created\nparameters: {path: {type: string}}\noutput: {path: {type: string, required: true}}\n",
    "sensors/files.yaml": block("yaml"),
    "sensors/files.py": block("python"),
  };
  await loadDirectory(world.services, write(files));
  await world.rule(shown.trigger, { triggerParams: { path: shown.payload.path } });
  await until(async () => (await payloads(shown.trigger)).length > 0, "its event");
  expect(await payloads(shown.trigger)).toEqual([shown.payload]);
});
