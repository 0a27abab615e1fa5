import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ACTIONS = join(import.meta.dirname, "../../packs/core/actions");
const HOSTILE = [
  "it's",
  'a "quoted" text',
  "two  spaces ",
  "line one\nline two\n",
  "$(touch injected) `touch injected`",
  "; touch injected #",
  "\\n",
  "",
  "-n",
  "*",
  "$args_0",
];

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "attune-scripts-"));
});
afterAll(() => rm(directory, { recursive: true }));

const quoted = (value: string) => `'${value.replaceAll("'", "'\\''")}'`;

/** Runs an entry script with `sh` as a worker does: parameters in a file, almost no environment. */
async function run(script: string, parameters: string[]) {
  const file = join(directory, "parameters");
  await writeFile(file, parameters.map((line) => `${line}\n`).join(""));
  const child = spawn("sh", [join(ACTIONS, script)], {
    cwd: directory,
    env: { PATH: process.env["PATH"], ATTUNE_PARAMETER_FILE: file },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = new Promise<number | null>((resolve, reject) => child.on("close", resolve).on("error", reject));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { stdout, stderr, code };
}

function shell(command: string, args: string[] = [], stdin?: string) {
  return run("shell.sh", [
    `command=${quoted(command)}`,
    `args=${quoted(JSON.stringify(args))}`,
    `args_count=${quoted(String(args.length))}`,
    ...args.map((value, index) => `args_${index}=${quoted(value)}`),
    ...(stdin === undefined ? [] : [`stdin=${quoted(stdin)}`]),
  ]);
}

describe("core.echo, core.sleep, core.fail", () => {
  test.each(HOSTILE)("echo prints %j unchanged", async (message) => {
    expect(await run("echo.sh", [`message=${quoted(message)}`])).toEqual({
      stdout: `${message}\n`,
      stderr: "",
      code: 0,
    });
  });

  test("sleep accepts zero and fractions, and refuses text", async () => {
    expect(await run("sleep.sh", ["seconds='0'"])).toEqual({ stdout: "", stderr: "", code: 0 });
    expect((await run("sleep.sh", ["seconds='0.01'"])).code).toBe(0);
    expect((await run("sleep.sh", ["seconds='soon'"])).code).not.toBe(0);
  });

  test("fail writes its message and ends with its exit code", async () => {
    const failed = await run("fail.sh", ["message='no luck'", "exit_code='7'"]);
    expect(failed).toEqual({ stdout: "", stderr: "no luck\n", code: 7 });
  });
});

describe("core.shell", () => {
  test("values reach the command unchanged, and none is executed", async () => {
    const { stdout, code, stderr } = await shell('printf "%s|" "$#" "$@"; [ ! -e injected ]', HOSTILE);
    expect(stdout).toBe([String(HOSTILE.length), ...HOSTILE, ""].join("|"));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  test("numbered values keep their order beyond nine", async () => {
    const args = Array.from({ length: 25 }, (_, i) => `v${i}`);
    expect((await shell('printf "%s " "$@"', args)).stdout).toBe(`${args.join(" ")} `);
  });

  test("the command is a whole script: pipes, several lines, comments, its own exit code", async () => {
    expect(await shell("# first\nprintf 'b\\na\\n' | sort\nexit 3\n")).toEqual({
      stdout: "a\nb\n",
      stderr: "",
      code: 3,
    });
    expect((await shell("false\ntrue")).code).toBe(0);
    expect((await shell("true\nfalse")).code).toBe(1);
    expect((await shell("set -e; false; true")).code).toBe(1);
    expect((await shell("if")).code).not.toBe(0);
  });

  test("standard input is passed byte for byte, and is empty by default", async () => {
    expect((await shell("cat", [], "one\n $(two) 'three'\n\n")).stdout).toBe("one\n $(two) 'three'\n\n");
    expect(await shell("cat", [])).toEqual({ stdout: "", stderr: "", code: 0 });
    expect((await shell("cat >/dev/null; exit 4", ["x"], "input")).code).toBe(4);
  });

  test("a command that does not read its input ends with its own exit code", async () => {
    expect(await shell("exit 5", [], "x".repeat(1_000_000))).toEqual({ stdout: "", stderr: "", code: 5 });
  });

  test("neither the command's variables nor any argument list shows the values and the input", async () => {
    const { stdout } = await shell(
      'set | grep -c "^args\\|^command=\\|^stdin=\\|^run="; tr "\\0" " " </proc/$$/cmdline; env',
      ["s3cret-value"],
      "s3cret-input",
    );
    expect(stdout).toMatch(/^0\n/);
    expect(stdout).not.toContain("s3cret");
  });
});
