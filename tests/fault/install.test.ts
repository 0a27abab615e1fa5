import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startCommand } from "../support/cli.ts";
import type { Location } from "../support/database.ts";
import { packDirectories } from "../support/pack.ts";
import { adminToken, request, serverEnvironment, spawnServer, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { createWorld } from "../support/world.ts";

const directories = packDirectories();
const installDir = mkdtempSync(join(tmpdir(), "attune-installed-"));
afterAll(() => rmSync(installDir, { recursive: true, force: true }));

/** Every point of an installation between two steps where a process can die. */
const faultPoints = ["install.tested", "install.moved", "install.before_commit", "install.after_commit"];

const filesOf = (version: string) => ({
  "pack.yaml": `ref: mortal\nlabel: Mortal\nversion: ${version}\ntesting: {runners: {shell: {type: script, entry_point: tests/run.sh, result_format: tap}}}\n`,
  "actions/say.yaml": "ref: mortal.say\nlabel: Say\nrunner_type: shell\nentry_point: actions/say.sh\n",
  "actions/say.sh": `echo ${version}\n`,
  "tests/run.sh": "echo 1..1; echo ok 1 - runs\n",
});

const state = `{ packByRef(ref: "mortal") { version testRuns(first: 10) { nodes { packVersion } } }
  executions(first: 10, where: {action: {eq: "core.install_pack"}}) { nodes { status attempt } } }`;
interface State {
  packByRef: { version: string; testRuns: { nodes: { packVersion: string }[] } } | null;
  executions: { nodes: { status: string; attempt: number }[] };
}

let location: Location;
beforeAll(async () => {
  await using world = await createWorld();
  location = world.services.location;
});

describe("kill -9 at each step of an installation", () => {
  test("leaves the installed version or the new one, and the next attempt completes it, once", async () => {
    const settings = { ATTUNE__PACKS__INSTALL_DIR: installDir };
    for (const [index, point] of faultPoints.entries()) {
      const version = `1.${index}.0`;
      const { child, output } = spawnServer(serverEnvironment(location, { ...settings, ATTUNE__TEST__FAULT: point }));
      const exited = once(child, "exit");
      const [url = ""] = await until(
        () => /listens on (\S+)\n/.exec(output())?.slice(1),
        `the server with ${point}`,
        20_000,
      );
      const server = { url, token: await adminToken(location) };
      const installing = startCommand(["pack", "install", directories(filesOf(version))], { server });
      const [, signal] = await exited;
      expect({ point, signal }).toEqual({ point, signal: "SIGKILL" });
      const again = await startProcess(location, settings);
      const found = await until(
        async () => {
          const now = await request<State>(again, state);
          return now.executions.nodes.every(({ status }) => status === "COMPLETED") && now;
        },
        `the installation after ${point}`,
        40_000,
      );
      expect((found || null)?.packByRef?.version, point).toBe(version);
      const runs = (found || null)?.packByRef?.testRuns.nodes.filter(({ packVersion }) => packVersion === version);
      expect(runs, point).toHaveLength(1);
      await again.kill();
      installing.interrupt(); // it would wait for that server
      await installing.ended;
    }
    expect(readdirSync(join(installDir, "mortal"))).toHaveLength(faultPoints.length);
    expect(existsSync(installDir)).toBe(true);
    expect(readdirSync(installDir).filter((name) => name.startsWith("attune-scratch-")).length).toBeLessThanOrEqual(1);
  }, 180_000);
});
