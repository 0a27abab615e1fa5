import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSession } from "../../src/access/session.ts";
import { ensureAdmin } from "../../src/access/token.ts";
import { rows } from "../../src/db/client.ts";
import { runtimeQueue } from "../../src/db/jobs.ts";
import { write } from "../../src/db/tx.ts";
import { installPack } from "../../src/execution/install-pack.ts";
import { installSteps } from "../../src/execution/install-steps.ts";
import { commit } from "../support/commit.ts";
import { cloneDatabase, createServices, type Location, type TestServices } from "../support/database.ts";
import { packDirectories } from "../support/pack.ts";
import { request, serverEnvironment, spawnServer, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const directories = packDirectories();
const installDir = mkdtempSync(join(tmpdir(), "attune-installed-"));
afterAll(() => rmSync(installDir, { recursive: true, force: true }));

/** Every point where the process of an installation dies, in their order: at the end of each step, and within the last one. */
const faultPoints = [
  ...installSteps.filter((step) => step !== "activate").map((step) => `install.step:${step}`),
  ...["install.moved", "install.before_commit", "install.after_commit", "install.step:activate"],
];
/** An execution is abandoned with its fifth lost attempt. */
const killsOfOne = 4;
const installations = Array.from({ length: Math.ceil(faultPoints.length / killsOfOne) }, (_none, index) => ({
  version: `1.${index}.0`,
  before: index === 0 ? null : `1.${index - 1}.0`,
  points: faultPoints.slice(index * killsOfOne, (index + 1) * killsOfOne),
}));
const committed = ["install.after_commit", "install.step:activate"];

const filesOf = (version: string) => ({
  "pack.yaml": `ref: mortal\nlabel: Mortal\nversion: ${version}\ntesting: {runners: {shell: {type: script, entry_point: tests/run.sh, result_format: tap}}}\n`,
  "actions/say.yaml": "ref: mortal.say\nlabel: Say\nrunner_type: shell\nentry_point: actions/say.sh\n",
  "actions/say.sh": `echo ${version}\n`,
  "tests/run.sh": "echo 1..1; echo ok 1 - runs\n",
});

const settings = { ATTUNE__PACKS__INSTALL_DIR: installDir, ATTUNE__PACKS__SOURCES: "file://" };
let location: Location;
beforeAll(async () => {
  location = await cloneDatabase("core");
});

/** Works on the database while no server runs. */
async function offline<T>(work: (services: TestServices) => Promise<T>): Promise<T> {
  await using services = await createServices(location);
  return await work(services);
}

/** Requests the installation of a pack with these files from a repository. */
const requestInstall = (files: Record<string, string>, withDependencies = false) =>
  offline(async (services) => {
    const repository = directories(files);
    const git = (...args: string[]) =>
      execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.org", ...args], { cwd: repository });
    git("init", "--quiet");
    git("add", ".");
    git("commit", "--quiet", "-m", "first");
    const session = openSession(await write(services, (tx) => ensureAdmin(tx)));
    await services.jobs.open(runtimeQueue("core.action.pack"));
    await commit(services, installPack, session, {
      ...{ artifact: null, archive: null, name: null, skipTests: false, force: false, withDependencies },
      git: { url: `file://${repository}`, ref: null },
    });
  });

/** Returns the version that is installed, and that its files have. */
const installed = () =>
  offline(async ({ db }) => {
    const [found] = await rows<{ version: string; path: string }>(
      db,
      sql`select p.version, r.path from attune.pack p join attune.pack_release r on r.id = p.active_release where p.ref = 'mortal'`,
    );
    return found
      ? { version: found.version, files: readFileSync(join(found.path, "actions/say.sh"), "utf8") }
      : { version: null, files: "echo null\n" };
  });

const state = `{ packByRef(ref: "mortal") { version testRuns(first: 10) { nodes { packVersion } } }
  executions(first: 10, where: {action: {eq: "core.install_pack"}}) { nodes { status } } }`;
interface State {
  packByRef: { version: string; testRuns: { nodes: { packVersion: string }[] } } | null;
  executions: { nodes: { status: string }[] };
}

/** Starts the server, and waits until it has killed itself at that point. */
async function dieAt(point: string, more: Record<string, string> = {}): Promise<void> {
  const environment = serverEnvironment(location, { ...settings, ...more, ATTUNE__TEST__FAULT: point });
  const { child, output } = spawnServer(environment);
  const [, signal] = await once(child, "exit", { signal: AbortSignal.timeout(60_000) });
  expect({ point, signal, output: signal === "SIGKILL" ? "" : output() }).toEqual({
    ...{ point, signal: "SIGKILL", output: "" },
  });
}

describe("kill -9 at each step of an installation", () => {
  test.each(installations)(
    "of $version, at $points, leaves the installed version or the new one, and the last attempt completes it, once",
    async ({ version, before, points }) => {
      await requestInstall(filesOf(version));
      for (const point of points) {
        await dieAt(point);
        const expected = committed.includes(point) ? version : before;
        expect({ point, ...(await installed()) }).toEqual({ point, version: expected, files: `echo ${expected}\n` });
      }
      await using server = await startProcess(location, settings);
      const found = await until(
        async () => {
          const now = await request<State>(server, state);
          return now.executions.nodes.every(({ status }) => status === "COMPLETED") && now;
        },
        "the installation",
        60_000,
      );
      const { packByRef: pack } = found || { packByRef: null };
      expect(pack?.version).toBe(version);
      expect(pack?.testRuns.nodes.filter(({ packVersion }) => packVersion === version)).toHaveLength(1);
      const count = installations.findIndex((each) => each.version === version) + 1;
      expect(readdirSync(join(installDir, "mortal"))).toHaveLength(count);
      expect(readdirSync(installDir).filter((name) => name.startsWith("attune-scratch-"))).toEqual([]);
    },
    300_000,
  );
});

test("kill -9 while a pack is installed with what it needs leaves none of both, or both", async () => {
  const archive = join(installDir, "needed.tar.gz");
  const needed = directories({ "pack.yaml": "ref: needed\nlabel: N\nversion: 1.0.0\n" });
  execFileSync("tar", ["-czf", archive, "-C", needed, "."]);
  const checksum = createHash("sha256").update(readFileSync(archive)).digest("hex");
  const site = createServer((asked, response) => {
    if (asked.url !== "/index.json") return void response.end(readFileSync(archive));
    const sources = [{ type: "archive", url: `${origin}/needed.tar.gz`, checksum }];
    const packs = [{ ref: "needed", label: "N", version: "1.0.0", install_sources: sources }];
    response.end(JSON.stringify({ packs }));
  });
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  try {
    const more = {
      ATTUNE__PACKS__SOURCES: `file://,${origin}`,
      ATTUNE__PACKS__INDEXES: `${origin}/index.json`,
    };
    await requestInstall({ "pack.yaml": "ref: needy\nlabel: N\nversion: 1.0.0\ndependencies: [needed]\n" }, true);
    const both = () =>
      offline(async ({ db }) => {
        const found = await rows<{ ref: string }>(
          db,
          sql`select ref from attune.pack where ref in ('needy', 'needed') order by ref`,
        );
        return found.map(({ ref }) => ref);
      });
    for (const point of ["install.step:dependencies", "install.moved", "install.before_commit"]) {
      await dieAt(point, more);
      expect({ point, found: await both() }).toEqual({ point, found: [] });
    }
    await dieAt("install.after_commit", more);
    expect(await both()).toEqual(["needed", "needy"]);
    await using server = await startProcess(location, { ...settings, ...more });
    await until(
      async () => (await request<State>(server, state)).executions.nodes.every(({ status }) => status === "COMPLETED"),
      "the installation",
      60_000,
    );
    expect(readdirSync(installDir).filter((name) => name.startsWith("attune-scratch-"))).toEqual([]);
  } finally {
    site.close();
    site.closeAllConnections();
  }
}, 300_000);
