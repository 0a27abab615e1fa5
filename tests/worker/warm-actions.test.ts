import { chmodSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cancelExecution } from "../../src/execution/cancel.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { commit } from "../support/commit.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { processesWith } from "../support/processes.ts";
import { request, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const python = (body: string) => `import json, os, sys, time\n${body}`;
const node = (body: string) =>
  `import { readFileSync, writeFileSync } from "node:fs";\nconst input = () => readFileSync(process.env.ATTUNE_PARAMETER_FILE ?? 0, "utf8");\n${body}`;
const readPython = 'text = open(os.environ.get("ATTUNE_PARAMETER_FILE", 0)).read()\n';

interface Written {
  python: string;
  node: string;
  more?: string;
}

/** Actions of the same name in both languages. */
const written: Record<string, Written> = {
  json: {
    python: python(
      `${readPython}print(json.dumps({"got": json.loads(text), "cwd": os.path.basename(os.getcwd())[:6]}))`,
    ),
    node: node(
      'console.log(JSON.stringify({ got: JSON.parse(input()), cwd: process.cwd().split("/").at(-1).slice(0, 6) }));',
    ),
    more: "output_format: json\n",
  },
  file: {
    python: python(
      `${readPython}print(text, oct(os.stat(os.environ["ATTUNE_PARAMETER_FILE"]).st_mode & 0o777), repr(sys.stdin.read()))`,
    ),
    node: node('console.log(input(), readFileSync(0, "utf8").length);'),
    more: "parameter_delivery: file\nparameter_format: yaml\n",
  },
  secret: {
    python: python(
      `${readPython}word = json.loads(text)["word"]\nprint(word)\nprint(word[::-1], word, file=sys.stderr)\nraise ValueError(word)`,
    ),
    node: node("const { word } = JSON.parse(input());\nconsole.log(word);\nthrow new Error(word);"),
  },
  artifact: {
    python: python('open(os.path.join(os.environ["ATTUNE_ARTIFACTS_DIR"], "note.txt"), "w").write("kept")'),
    node: node('writeFileSync(process.env.ATTUNE_ARTIFACTS_DIR + "/note.txt", "kept");'),
  },
  invalid: { python: python('print("no JSON")'), node: node('console.log("no JSON");'), more: "output_format: json\n" },
  failing: {
    python: python('print("so far")\nsys.exit(3)'),
    node: node('console.log("so far");\nprocess.exitCode = 3;'),
  },
  waiting: {
    python: python('print("begun")\ntime.sleep(60)'),
    node: node('console.log("begun");\nsetTimeout(() => {}, 60_000);'),
  },
};
const packFiles = Object.fromEntries(
  Object.entries(written).flatMap(([name, each]) =>
    (["python", "node"] as const).flatMap((language) => {
      const file = `actions/${language}_${name}.${language === "python" ? "py" : "mjs"}`;
      const about = `ref: both.${language}_${name}\nlabel: x\nrunner_type: ${language}\nentry_point: ${file}\n`;
      const parameters = "parameters: {word: {type: string, secret: true}, n: {type: integer}}\n";
      return [
        [`actions/${language}_${name}.yaml`, about + (each.more ?? "") + parameters],
        [file, each[language]],
      ];
    }),
  ),
);
const files = { "pack.yaml": "ref: both\nlabel: Both\nversion: 1.0.0\n", ...packFiles };
const runtimes = { python: "core.action.python", node: "core.action.nodejs" };
type Language = keyof typeof runtimes;

/** Returns how many actions of the runtime were started that way. */
async function starts(world: World, language: Language, start: "warm" | "cold"): Promise<number> {
  const text = await world.services.metrics.render();
  const line = `attune_action_starts_total{runtime="${runtimes[language]}",start="${start}"} `;
  return Number(
    text
      .split("\n")
      .find((each) => each.startsWith(line))
      ?.slice(line.length) ?? 0,
  );
}

/** Runs actions until one is started warm: the next one is, too. */
async function warmUp(world: World, language: Language): Promise<void> {
  const before = await starts(world, language, "warm");
  await until(
    async () => {
      await world.ended(await world.execute(`both.${language}_json`, { n: 1 }));
      return (await starts(world, language, "warm")) > before;
    },
    `a warm ${language}`,
    30_000,
  );
}

async function outcome(world: World, id: string) {
  const { status, result, error, reason } = await world.ended(id, 20_000);
  const { duration_ms: _, ...rest } = result ?? {};
  const shown = [await world.log(id, "stdout"), await world.log(id, "stderr"), await world.log(id, "system")];
  return { status, result: rest, error, reason, shown, timeline: await world.timeline(id) };
}

describe("an action of a pack", () => {
  const directories = packDirectories();
  let warm: World;
  let cold: World;
  beforeAll(async () => {
    [warm, cold] = [await createWorld(), await createWorld()];
    const directory = directories(files);
    for (const world of [warm, cold]) await loadDirectory(world.services, directory);
    await warm.startWorker(10, 5000, [], {}, { warm: true });
    await cold.startWorker(10, 5000, [], {}, { warm: false });
  });
  afterAll(async () => {
    await warm[Symbol.asyncDispose]();
    await cold[Symbol.asyncDispose]();
  });

  const word = "a long secret";
  const cases: [string, JsonObject][] = [
    ["json", { n: 5 }],
    ["file", { n: 6, word }],
    ["secret", { word }],
    ["artifact", {}],
    ["invalid", {}],
    ["failing", {}],
  ];
  test.each(
    (["python", "node"] as const).flatMap((language) => cases.map(([name, given]) => ({ language, name, given }))),
  )("in $language, $name, has the same outcome and log", async ({ language, name, given }) => {
    const action = `both.${language}_${name}`;
    await warmUp(warm, language);
    const before = await starts(warm, language, "warm");
    const found = await outcome(warm, await warm.execute(action, given));
    expect(await starts(warm, language, "warm")).toBe(before + 1);
    expect(found).toEqual(await outcome(cold, await cold.execute(action, given)));
    if (name === "secret") expect(JSON.stringify(found)).not.toContain(word);
    const artifacts = sql`select ref, retention_limit as kept from attune.artifact where ref = ${`${action}/note.txt`}`;
    expect(await warm.all(artifacts)).toEqual(await cold.all(artifacts));
    expect(await warm.all(artifacts)).toHaveLength(name === "artifact" ? 1 : 0);
  });

  test.each(["python", "node"] as const)(
    "in %s ends when it is cancelled, and when its time is over",
    async (language) => {
      for (const end of ["cancel", "time"]) {
        const outcomes = [];
        for (const world of [warm, cold]) {
          if (world === warm) await warmUp(warm, language);
          const before = await starts(warm, language, "warm");
          const id = await world.execute(`both.${language}_waiting`, {}, end === "time" ? 2 : 60);
          await until(async () => (await world.log(id, "stdout")).includes("begun"), "its begin");
          if (world === warm) expect(await starts(warm, language, "warm")).toBe(before + 1);
          if (end === "cancel")
            await commit(world.services, cancelExecution, world.session, { id: BigInt(id), reason: null });
          outcomes.push(await outcome(world, id));
        }
        expect(outcomes[0]).toEqual(outcomes[1]);
        expect(outcomes[0]?.status).toBe(end === "cancel" ? "cancelled" : "timeout");
      }
    },
  );
});

const isRoot = process.platform === "linux" && process.getuid?.() === 0;

// Only root can start processes of other users.
describe.runIf(isRoot)("an action of another user", () => {
  const directories = packDirectories();
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
    const who = {
      "actions/python_json.py":
        'import os, sys, json, site\nprint(json.dumps([os.getuid(), os.getgid(), os.path.isdir(os.environ["HOME"]), site.USER_BASE.startswith(os.environ["HOME"])]))',
      "actions/node_json.mjs":
        'import { statSync } from "node:fs";\nimport Module from "node:module";\nconsole.log(JSON.stringify([process.getuid(), process.getgid(), statSync(process.env.HOME).isDirectory(), Module.globalPaths[0].startsWith(process.env.HOME)]));',
    };
    const directory = directories({ ...files, ...who });
    chmodSync(directory, 0o755);
    chmodSync(join(directory, "actions"), 0o755);
    await loadDirectory(world.services, directory);
    // The interpreters of the home of root are closed to others.
    const host = { runAs: { uid: 65_534, gid: 65_534 }, base: { PATH: "/usr/bin:/bin" } };
    await world.startWorker(10, 5000, [], host, { warm: true });
  });
  afterAll(() => world[Symbol.asyncDispose]());

  test.each(["python", "node"] as const)(
    "is started warm in %s as that user, with a home of its own",
    async (language) => {
      const first = await world.ended(await world.execute(`both.${language}_json`));
      expect(first).toMatchObject({ status: "completed", result: { data: [65_534, 65_534, true, true] } });
      await warmUp(world, language);
      const before = await starts(world, language, "warm");
      const row = await world.ended(await world.execute(`both.${language}_json`));
      expect(await starts(world, language, "warm")).toBe(before + 1);
      expect(row.result?.["data"]).toEqual(first.result?.["data"]);
    },
  );
});

const directoryOf = packDirectories();

/** Returns the processes whose working directory it is. */
const processesIn = (directory: string) =>
  readdirSync("/proc").filter((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === directory;
    } catch {
      return false; // no process, or it has ended
    }
  });

test("kill -9 of the server leaves neither its interpreters nor their actions, which are lost like any others", async () => {
  const directory = directoryOf(files);
  let release = ""; // the copy of the files that the actions run from
  const location = await (async () => {
    await using server = await startProcess(undefined, {
      ATTUNE__PACKS__DIRS: directory,
      ATTUNE__WORKER__WARM: "true",
    });
    const execute = async (action: string) =>
      (
        await request<{ executeAction: { execution: { id: string } } }>(
          server,
          "mutation($action: String!) { executeAction(input: {action: $action}) { ... on ExecuteActionPayload { execution { id } } } }",
          { action },
        )
      ).executeAction.execution.id;
    const metrics = async () => await (await fetch(`${server.url}/metrics`)).text();
    const [digest = ""] = readdirSync(join(server.location.dataDir, "packs", "both"));
    release = join(server.location.dataDir, "packs", "both", digest);
    for (const [language, runtime] of Object.entries(runtimes)) {
      const isWarm = new RegExp(`starts_total{runtime="${runtime}",start="warm"} [1-9]`);
      await until(
        async () => {
          await execute(`both.${language}_failing`);
          return isWarm.test(await metrics());
        },
        `a warm ${language}`,
        60_000,
      );
      const id = await execute(`both.${language}_waiting`);
      await until(() => processesWith(join(release, `actions/${language}_waiting`)).length > 0, `the process of ${id}`);
    }
    await server.kill();
    return server.location;
  })();
  const forking = () => processesIn(release).filter((pid) => !processesWith("node").includes(pid));
  await until(() => forking().length === 0, "the end of the interpreter that forks and of its action");
  await using _next = await startProcess(location, { ATTUNE__PACKS__DIRS: directory, ATTUNE__WORKER__WARM: "true" });
  await until(() => processesIn(release).length === 0, "the end of what the server left", 60_000);
}, 120_000); // it takes ten seconds alone
