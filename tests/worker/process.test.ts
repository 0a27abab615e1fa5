import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { InvalidInputError } from "../../src/errors.ts";
import { ownName } from "../../src/lib/action-processes.ts";
import { parseOutput } from "../../src/worker/output.ts";
import { actionEnvironment, formatParameters } from "../../src/worker/parameters.ts";
import { environments, readable, refused } from "./fixtures/cases.ts";
import { groupMembers, measured, run } from "./fixtures/run.ts";

const mib = 1024 * 1024;
const marker = "[output truncated: the limit of 10 MiB was reached]\n";
const dir = mkdtempSync(join(tmpdir(), "process-"));
const flood = join(import.meta.dirname, "fixtures/flood.mjs");
afterAll(() => rmSync(dir, { recursive: true }));

const firstPid = (text: string) => Number(/^\d+/.exec(text)?.[0]);
const noneLeft = (pgid: number) => expect.poll(() => groupMembers(pgid), { timeout: 2_000 }).toEqual([]);

describe("an ordinary process", () => {
  test("gets its arguments, directory, stdin and exactly the given environment, as leader of its group", async () => {
    const result = await run("", {
      args: [
        "-c",
        'pwd; echo "$1"; cat; env | grep -v "^_=\\|^PWD="; cut -d" " -f5 /proc/$$/stat; echo $$; echo oops >&2',
        "sh",
        "one two",
      ],
      cwd: dir,
      env: { PATH: "/usr/bin:/bin", GREETING: "grüße" },
      stdin: '{"a":"ü"}\n',
    });
    const [cwd, argument, stdin, ...rest] = result.stdout.trimEnd().split("\n");
    expect([cwd, argument, stdin]).toEqual([dir, "one two", '{"a":"ü"}']);
    expect(rest.slice(0, -2).sort()).toEqual(["GREETING=grüße", "PATH=/usr/bin:/bin"]);
    expect(rest.at(-2)).toBe(rest.at(-1));
    expect(result).toMatchObject({ ended: "exited", exitCode: 0, signalName: null, message: null });
    expect(result.logged).toEqual({ stdout: result.stdout, stderr: "oops\n", system: "" });
  });

  test.each([
    ["exit 7", 7, null],
    ["kill -9 $$", null, "SIGKILL"],
  ])("%s is reported", async (script, exitCode, signalName) => {
    expect(await run(script)).toMatchObject({ ended: "exited", exitCode, signalName });
  });

  test("delivers output while it runs", async () => {
    const go = join(dir, "go");
    const result = await run(`echo ready; while [ ! -e ${go} ]; do sleep 0.02; done; echo gone`, {}, (text) => {
      if (text === "ready\n") writeFileSync(go, "");
    });
    expect(result).toMatchObject({ ended: "exited", stdout: "ready\ngone\n" });
  });

  test("delivers output in batches, not line by line", async () => {
    const result = await run("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done");
    expect(result.stdout.trimEnd().split("\n")).toHaveLength(3000);
    expect(result.calls.length).toBeLessThanOrEqual(result.durationMs / 100 + 3);
  });

  test("loses no output to a busy event loop", async () => {
    const result = await run("echo first; head -c 150000 /dev/zero | tr '\\0' x; echo last >&2", {}, (text) => {
      if (text.startsWith("first")) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    });
    expect(result.stdout).toHaveLength(150_006);
    expect(result.logged.stderr).toBe("last\n");
  });

  test("may have a timeout longer than the longest timer", async () => {
    expect(await run("sleep 0.1", { timeoutMs: 2 ** 40 })).toMatchObject({ ended: "exited", exitCode: 0 });
  });
});

describe("bytes become text", () => {
  test.each([
    ["a character in two writes", "printf 'caf\\303'; sleep 0.15; printf '\\251'", "café"],
    ["bytes that are not UTF-8", "printf 'a\\377b'", "a\ufffdb"],
    ["NUL", "printf 'a\\000b'", "a\ufffdb"],
    ["an unfinished character at the end", "printf 'a\\303'", "a\ufffd"],
  ])("%s", async (_name, script, text) => {
    const result = await run(script);
    expect(result.stdout).toBe(text);
    expect(result.logged.stdout).toBe(text);
  });
});

describe("stdin", () => {
  const stdin = "x".repeat(8 * mib);
  test.each([
    ["never read", "exit 3"],
    ["closed early", "exec <&-; sleep 0.1; exit 3"],
    ["read in part", "head -c 10 >/dev/null; exit 3"],
  ])("%s does no harm", async (_name, script) => {
    expect(await run(script, { stdin })).toMatchObject({ ended: "exited", exitCode: 3 });
  });
});

describe("the limit of output", () => {
  const node = (...args: string[]) => ({ command: process.execPath, args: [flood, ...args] });

  test("cuts a flood once, without blocking the process or this event loop or exhausting memory", async () => {
    const done = join(dir, "done");
    let bytes = 0;
    let markers = 0;
    const { result, longestGap, growth } = await measured(node(`${50 * mib}`, "0", done), (text) => {
      if (text.endsWith(marker)) markers += 1;
      else bytes += Buffer.byteLength(text);
    });
    expect(result).toMatchObject({ ended: "exited", exitCode: 0, truncated: { stdout: true, stderr: false } });
    expect(readFileSync(done, "utf8")).toBe("done");
    expect({ bytes, markers, kept: result.stdout.length }).toEqual({ bytes: 10 * mib, markers: 1, kept: 10 * mib });
    expect(longestGap).toBeLessThan(500);
    expect(growth).toBeLessThan(64 * mib);
  });

  test("counts each stream separately; keeps exactly 10 MiB whole; puts the marker on its own line", async () => {
    const result = await run("", node(`${10 * mib}`, `${10 * mib + 1}`));
    expect(result.truncated).toEqual({ stdout: false, stderr: true });
    expect(result.logged.stdout).toHaveLength(10 * mib);
    expect(result.logged.stderr.slice(10 * mib)).toBe(`\n${marker}`);
  });

  test("counts stored bytes: no character is cut, replaced bytes count as three", async () => {
    const result = await run(`head -c ${4 * mib} /dev/zero`);
    expect(result.truncated.stdout).toBe(true);
    expect(result.stdout).toBe("\ufffd".repeat(Math.floor((10 * mib) / 3)));
  });
});

describe("the end of the group", () => {
  test("a process that ignores SIGTERM is killed with its children after the grace", async () => {
    const script = "trap '' TERM; echo $$; sleep 60 & while :; do sleep 0.05; done";
    const result = await run(script, { timeoutMs: 300, graceMs: 300 });
    expect(result).toMatchObject({
      ended: "timed_out",
      exitCode: null,
      signalName: "SIGKILL",
      message: "Timed out after 0.3 s.",
    });
    expect(result.durationMs).toBeGreaterThanOrEqual(590);
    expect(result.logged.system).toMatch(/^Timed out after 0.3 s. SIGTERM .*\nStill running after 0.3 s: SIGKILL .*\n/);
    await noneLeft(firstPid(result.stdout));
  });

  test("a process that handles SIGTERM ends with its own exit code, before the end of the grace", async () => {
    const result = await run("trap 'echo bye; exit 7' TERM; echo $$; while :; do sleep 0.05; done", { timeoutMs: 300 });
    expect(result).toMatchObject({ ended: "timed_out", exitCode: 7 });
    expect(result.stdout).toMatch(/^\d+\nbye\n$/);
    expect(result.durationMs).toBeLessThan(2_000);
    expect(result.logged.system).not.toContain("SIGKILL");
  });

  test("children have the whole grace, even if the leader exits at once", async () => {
    const child = "trap 'sleep 0.4; echo cleaned; exit' TERM; echo ready; while :; do sleep 0.05; done";
    const abort = new AbortController();
    const result = await run(
      `(${child}) & wait`,
      { signal: abort.signal },
      (text) => text.includes("ready") && abort.abort(),
    );
    expect(result).toMatchObject({
      ended: "stopped",
      signalName: "SIGTERM",
      stdout: "ready\ncleaned\n",
      message: "Cancelled.",
    });
  });

  test("a process that is cancelled before its start never runs", async () => {
    const file = join(dir, "never");
    const result = await run(`touch ${file}`, { signal: AbortSignal.abort() });
    expect(result).toMatchObject({ ended: "stopped", exitCode: null });
    expect(existsSync(file)).toBe(false);
  });

  test.each([
    ["that hold the pipes open", "sleep 60 & sleep 60 &"],
    ["that ignore SIGTERM", "(trap '' TERM; while :; do sleep 0.05; done) &"],
    ["that write without end", "yes &"],
    ["that hold no pipe", "sleep 60 >/dev/null 2>&1 &"],
  ])("grandchildren %s are ended soon after the leader", async (_name, script) => {
    const result = await run(`echo $$; ${script}`);
    expect(result).toMatchObject({ ended: "exited", exitCode: 0 });
    expect(result.durationMs).toBeLessThan(2_000);
    expect(result.logged.system).toContain("left behind");
    await noneLeft(firstPid(result.stdout));
  });

  test("output of a pipeline just after the leader's exit is kept", async () => {
    expect(await run("(sleep 0.03; echo late) &")).toMatchObject({ stdout: "late\n" });
  });

  test("output of a process that leaves the group by setsid is kept a little longer", async () => {
    expect(await run("setsid sh -c 'sleep 0.03; echo late' &")).toMatchObject({ ended: "exited", stdout: "late\n" });
  });

  test("a process that leaves the group by setsid does not delay the result", async () => {
    const file = join(dir, "escaped");
    const result = await run(
      `setsid sh -c 'echo $$ > ${file}; exec yes' & while [ ! -s ${file} ]; do sleep 0.02; done`,
    );
    process.kill(Number(readFileSync(file, "utf8")), "SIGKILL");
    expect(result).toMatchObject({ ended: "exited", exitCode: 0 });
    expect(result.durationMs).toBeLessThan(5_000);
  });

  test("a process that cannot be killed is given up", async () => {
    const kill = vi.spyOn(process, "kill").mockImplementation(() => {
      throw Object.assign(new Error("kill EPERM"), { code: "EPERM" });
    });
    const result = await run("echo $$; exec sleep 60", { timeoutMs: 100, graceMs: 100 });
    kill.mockRestore();
    process.kill(firstPid(result.stdout), "SIGKILL");
    expect(result).toMatchObject({ ended: "timed_out", exitCode: null, signalName: null });
    expect(result.message).toContain("given up");
  });
});

describe("a failed start is a result", () => {
  const plain = join(dir, "plain");
  writeFileSync(plain, "#!/bin/sh\n", { mode: 0o644 });
  test.each([
    [{ command: "no-such-command" }, 'The command "no-such-command" was not found.'],
    [{ command: plain }, `The command "${plain}" is not executable.`],
    [{ cwd: join(dir, "absent") }, `The working directory "${join(dir, "absent")}" does not exist.`],
    [{ args: ["a\0b"] }, "null bytes"],
    [{ args: ["x".repeat(mib)] }, "too long for the system"],
  ])("%#", async (spec, message) => {
    const result = await run("", spec);
    expect(result).toMatchObject({ ended: "spawn_failed", exitCode: null, signalName: null, stdout: "" });
    expect(result.message).toContain(message);
  });
});

describe("parseOutput", () => {
  test.each(readable)("%s %j", (format, stdout, data) => {
    expect(parseOutput(format, stdout)).toEqual({ data });
  });

  test.each(refused)("%s is refused: case %#", (format, stdout, error) => {
    expect(parseOutput(format, stdout)).toEqual({ error: expect.stringContaining(error) });
  });
});

describe("formatParameters", () => {
  const shared = { deep: [1, true, null] };
  const values = {
    text: "it's $HOME\n`id`",
    answer: "no",
    day: "2001-01-01",
    none: null,
    n: 1.5,
    a: shared,
    b: shared,
  };

  test("json and yaml are parsed back unchanged, also by YAML 1.1", () => {
    expect(JSON.parse(formatParameters(values, "json"))).toEqual(values);
    for (const version of ["1.1", "1.2"] as const)
      expect(parse(formatParameters(values, "yaml"), { version })).toEqual(values);
    expect(formatParameters(values, "yaml")).not.toContain("*");
  });

  test("dotenv can be sourced by a shell without running anything", async () => {
    const file = join(dir, "parameters.env");
    writeFileSync(file, formatParameters(values, "dotenv"));
    const { stdout } = await run(`. ${file}; printf '%s|' "$text" "$answer" "$none" "$n" "$a"`);
    expect(stdout).toBe(`it's $HOME\n\`id\`|no||1.5|{"deep":[1,true,null]}|`);
  });

  test("dotenv refuses names that a shell would read differently", () => {
    const refused = () => formatParameters({ ok: 1, "a; id": 2, "b-c": 3, "d\n": 4 }, "dotenv");
    expect(refused).toThrow(InvalidInputError);
    expect(refused).toThrow(/^a; id: .*; b-c: .*; d\n: /);
  });
});

test.each(environments)("actionEnvironment, $name", ({ context, environment }) => {
  expect(actionEnvironment({ ...context, cause: context.cause() })).toEqual({
    ...environment,
    ATTUNE_WORKER_PROCESS: ownName(),
  });
});
