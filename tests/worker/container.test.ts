import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAction } from "../../src/catalog/action.ts";
import { readPack } from "../../src/catalog/read.ts";
import { commit } from "../support/commit.ts";
import { cloneDatabase } from "../support/database.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { processesWith } from "../support/processes.ts";
import { request, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const directories = packDirectories();
const image = "localhost/attune-test:1";

/** Podman as a machine can have it that is itself a container: it may not raise limits. */
const engineBase: Record<string, string> = { HOME: process.env["HOME"] ?? "/root" };

/** Returns whether containers of an image with only a shell can be run here. */
function hasContainers(): boolean {
  const busybox = ["/bin/busybox", "/usr/bin/busybox"].find((path) => spawnSync(path, ["true"]).status === 0);
  if (busybox === undefined || spawnSync("podman", ["--version"]).status !== 0) return false;
  const directory = mkdtempSync(join(tmpdir(), "attune-image-"));
  try {
    const configuration = join(tmpdir(), "attune-containers.conf");
    writeFileSync(
      configuration,
      '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n[engine]\nruntime = "runc"\n',
    );
    engineBase["CONTAINERS_CONF"] = configuration;
    const root = join(directory, "root");
    mkdirSync(join(root, "bin"), { recursive: true });
    cpSync(busybox, join(root, "bin", "busybox"));
    for (const name of ["sh", "cat", "sleep", "id", "ls", "env", "ip", "grep", "mkdir"]) {
      symlinkSync("busybox", join(root, "bin", name));
    }
    execFileSync("tar", ["-cf", join(directory, "image.tar"), "-C", root, "."]);
    const env = { ...process.env, ...engineBase };
    if (spawnSync("podman", ["import", join(directory, "image.tar"), image], { env }).status !== 0) return false;
    return (
      spawnSync("podman", ["run", "--rm", "--network", "none", "--memory", "64m", image, "/bin/sh", "-c", "true"], {
        env,
      }).status === 0
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const action = (name: string, container: string, more = "") =>
  `ref: boxed.${name}\nlabel: A container\nrunner_type: container\nparameters: {word: {type: string}}\ncontainer: ${container}\n${more}`;
const shell = (script: string, more = "") =>
  `{image: "${image}", pull: never, command: [/bin/sh, -c, ${JSON.stringify(script)}]${more}}`;
const files = {
  "pack.yaml": "ref: boxed\nlabel: Boxed\nversion: 1.0.0\n",
  "actions/say.yaml": action(
    "say",
    shell(
      'cat; echo "$ATTUNE_ACTION $HOME"; echo art > $ATTUNE_ARTIFACTS_DIR/note.txt; ls /attune/pack; ip a | grep -c inet',
    ),
    "parameter_format: yaml\n",
  ),
  "actions/file.yaml": action(
    "file",
    `{image: "${image}", pull: never, command: [/bin/sh]}`,
    "entry_point: actions/file.sh\nparameter_delivery: file\nparameter_format: dotenv\noutput_format: json\n",
  ),
  "actions/file.sh":
    '. "$ATTUNE_PARAMETER_FILE"\nro=false\nmkdir made 2>/dev/null || ro=true\necho "{\\"word\\": \\"$word\\", \\"readonly\\": $ro}"\n',
  "actions/fails.yaml": action("fails", shell("echo bad >&2; exit 3")),
  "actions/odd.yaml": action("odd", shell("exit 125")),
  "actions/missing.yaml": action("missing", '{image: "localhost/attune-no-such:1", pull: never}'),
  "actions/long.yaml": action("long", shell("echo begun; sleep 7391"), "on_worker_loss: requeue\n"),
  "actions/hungry.yaml": action("hungry", shell("x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done", ", memory_mb: 16")),
};

describe("a pack's file", () => {
  const read = (text: string) =>
    readPack(directories({ "pack.yaml": "ref: boxed\nlabel: Boxed\nversion: 1.0.0\n", "actions/a.yaml": text }));

  test.each([
    ["ref: boxed.a\nlabel: A\nrunner_type: container\n", /actions\/a\.yaml.* container: is required/],
    [
      "ref: boxed.a\nlabel: A\nrunner_type: container\ncontainer: {image: '-v'}\n",
      /container\.image: must be the name of an image/,
    ],
    ["ref: boxed.a\nlabel: A\nrunner_type: container\ncontainer: {image: a, network: host}\n", /container\.network/],
    [
      "ref: boxed.a\nlabel: A\nrunner_type: builtin\ncontainer: {image: a}\n",
      /container: is only for the runner type container/,
    ],
    [
      "ref: boxed.a\nlabel: A\nrunner_type: container\nentry_point: no.sh\ncontainer: {image: a}\n",
      /there is no file "no\.sh"/,
    ],
  ])("like %j is refused", async (text, sentence) => {
    await expect(read(text)).rejects.toThrow(sentence);
  });
});

// It takes an engine that can run containers.
describe.runIf(hasContainers())("actions in containers", () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
    await loadDirectory(world.services, directories(files));
    await world.startWorker(10, 5000, [], { engineBase });
  });
  afterAll(() => world[Symbol.asyncDispose]());

  const podman = (...args: string[]) =>
    execFileSync("podman", args, { env: { ...process.env, ...engineBase }, encoding: "utf8" }).trim();
  const containersOf = (id: string) => podman("ps", "--all", "--quiet", "--filter", `label=attune.execution=${id}`);

  test("get parameters and variables, leave artifacts, see the pack, and have no network", async () => {
    const id = await world.execute("boxed.say", { word: "hello" });
    expect(await world.ended(id, 60_000)).toMatchObject({ status: "completed", error: null });
    const lines = (await world.log(id, "stdout")).split("\n");
    expect(lines.slice(0, 2)).toEqual(["word: hello", "boxed.say /"]);
    expect(lines).toContain("pack.yaml");
    expect(lines.at(-2)).toBe("2"); // the addresses of the loopback
    expect(await world.all(sql`select ref from attune.artifact`)).toEqual([{ ref: "boxed.say/note.txt" }]);
    expect(containersOf(id)).toBe("");
  });

  test("run a file of the pack, which they cannot change", async () => {
    const id = await world.execute("boxed.file", { word: "it's" });
    expect(await world.ended(id, 60_000)).toMatchObject({
      status: "completed",
      result: { exit_code: 0, data: { word: "it's", readonly: true } },
    });
  });

  test("fail with their exit codes, and otherwise than an engine that cannot start them", async () => {
    const ended = async (ref: string) => await world.ended(await world.execute(ref), 60_000);
    const [failed, odd, missing] = await Promise.all([
      ended("boxed.fails"),
      ended("boxed.odd"),
      ended("boxed.missing"),
    ]);
    expect(failed).toMatchObject({
      status: "failed",
      error: { code: "EXIT_CODE", message: "The action exited with code 3." },
    });
    expect(await world.log(failed.id, "stderr")).toBe("bad\n");
    expect(odd).toMatchObject({ error: { code: "EXIT_CODE", message: "The action exited with code 125." } });
    expect(missing).toMatchObject({ error: { code: "CONTAINER_FAILED" } });
    expect(await world.log(missing.id, "stderr")).toContain("attune-no-such");
  });

  test("are removed when their time is over, although they ignore SIGTERM", async () => {
    const id = await world.execute("boxed.long", {}, 2);
    expect(await world.ended(id, 60_000)).toMatchObject({ status: "timeout" });
    expect(await world.log(id, "stdout")).toBe("begun\n");
    expect(containersOf(id)).toBe("");
    await until(() => processesWith("sleep\u00007391").length === 0, "the end of its processes");
  });

  test("cannot take more memory than they may have", async () => {
    const ended = await world.ended(await world.execute("boxed.hungry", {}, 60), 90_000);
    expect(ended).toMatchObject({ status: "failed", error: { code: "EXIT_CODE" } });
  });

  test("are defined by files only", async () => {
    const input = { ref: "default.box", runtime: "core.action.container", entrypoint: "boxed.say" };
    await expect(commit(world.services, createAction, world.session, input)).rejects.toThrow("only the files of packs");
  });

  test("of a killed worker are ended before the next attempt runs", async () => {
    const directory = directories(files);
    const location = await cloneDatabase("core");
    const settings = { ...engineBase, ATTUNE__PACKS__DIRS: directory };
    const first = await startProcess(location, settings);
    const document = `mutation { executeAction(input: {action: "boxed.long"}) { ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`;
    const { executeAction } = await request<{ executeAction: { execution: { id: string } } }>(first, document);
    const running = () =>
      podman("ps", "--no-trunc", "--filter", "label=attune.execution", "--format", "{{.ID}}")
        .split("\n")
        .filter(Boolean);
    await until(() => running().length === 1, "the first container", 60_000);
    const [lost] = running();
    await first.kill();
    expect(running()).toEqual([lost]);
    await using second = await startProcess(location, settings);
    await until(() => running().length === 1 && running()[0] !== lost, "the second container, alone", 60_000);
    const cancel = `mutation ($id: ID!) { cancelExecution(input: {id: $id}) { ... on CancelExecutionPayload { execution { id } } ... on Error { message } } }`;
    await request(second, cancel, { id: executeAction.execution.id });
    await until(() => running().length === 0, "the end of the second container", 60_000);
  }, 120_000);
});
