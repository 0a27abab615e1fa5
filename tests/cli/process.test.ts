import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { spawnCommand } from "../support/cli.ts";

import { type RunningServer, startInProcess } from "../support/server.ts";
import { onTerminal } from "../support/terminal.ts";
import { until } from "../support/until.ts";
import { execute, mutate } from "./seed.ts";

const scratch = mkdtempSync(join(tmpdir(), "attune-cli-"));
let server: RunningServer;
beforeAll(async () => {
  server = await startInProcess();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true });
});

/** Runs Node.js to its end and returns how long that took, in milliseconds. */
function cost(...args: string[]): number {
  const started = performance.now();
  execFileSync(process.execPath, args, { stdio: "ignore" });
  return performance.now() - started;
}

/** Returns the files and packages that a command line loads, and its exit code. */
async function loaded(...args: string[]): Promise<{ code: number | null; modules: string[] }> {
  const hook = `import { registerHooks } from "node:module";
    registerHooks({ load: (url, context, next) => (process._rawDebug("loads " + url), next(url, context)) });`;
  const preload = `data:text/javascript,${encodeURIComponent(hook)}`;
  const child = spawn(process.execPath, ["--import", preload, "src/attune.js", ...args], {
    env: { PATH: process.env["PATH"] ?? "", ATTUNE__DATA_DIR: join(scratch, "nothing") },
  });
  const [stderr] = await Promise.all([text(child.stderr), text(child.stdout), once(child, "exit")]);
  const urls = [...stderr.matchAll(/^loads file:(.*)$/gm)].map(([, url = ""]) => url);
  return { code: child.exitCode, modules: urls.map((url) => url.replace(/^.*\/(?=(src|node_modules)\/)/, "")) };
}

describe("attune as a process", () => {
  test("loads nothing of the server for its commands, and none of them for the server", async () => {
    const command = await loaded("pack", "list", "--url", "http://127.0.0.1:9");
    expect(command.code).toBe(1);
    const own =
      /^(src\/(attune|imports)\.js|src\/lib\/program\.ts|src\/(main|errors)\.ts|src\/author\/author\.ts|src\/cli\/.*|node_modules\/(commander|string-width|strip-ansi|ansi-regex|get-east-asian-width|graphql-ws)\/.*)$/;
    expect(command.modules.filter((name) => !own.test(name))).toEqual([]);
    const link = await loaded("link");
    expect(link.code).toBe(1);
    expect(link.modules).toContain("src/link.ts");
    expect(link.modules.filter((name) => /src\/cli\/|commander/.test(name))).toEqual([]);
  });

  test("prints its version, which costs little more than starting Node.js", () => {
    const { version } = JSON.parse(readFileSync("package.json", "utf8"));
    expect(execFileSync(process.execPath, ["src/attune.js", "--version"], { encoding: "utf8" })).toBe(`${version}\n`);
    // The least of several runs: other work on the machine only adds to it.
    let [bare, own] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let round = 0; round < 6 || (round < 40 && own / bare >= 1.5); round += 1) {
      bare = Math.min(bare, cost("-e", "0"));
      own = Math.min(own, cost("src/attune.js", "--version"));
    }
    expect(own / bare).toBeLessThan(1.5);
  });

  test.each([
    [["--version", "--output", "json"], 0],
    [["serve", "--help"], 0],
    [["serve", "--port", "1"], 2],
    [["serve", "now"], 2],
    [["link", "--roles"], 2],
    [[], 2],
  ])("attune %j exits with %i", async (args, code) => {
    const command = spawnCommand(args);
    command.end();
    expect(await command.ended).toMatchObject({ code });
  });

  test("runs an action with values from a pipe, and without anything on standard input", async () => {
    const piped = spawnCommand(["run", "core.echo", "--params", "-", "--follow"], { server });
    piped.end("message: piped\n");
    expect(await piped.ended).toMatchObject({ code: 0, stdout: "piped\n" });
    // Standard input, output and errors are closed, not empty.
    const shell = `exec ${process.execPath} src/attune.js run core.echo message=x --wait`;
    const env = { PATH: process.env["PATH"] ?? "", ATTUNE_URL: server.url, ATTUNE_TOKEN: server.token };
    for (const closed of ["<&-", "<&- >&- 2>&-"]) {
      const child = spawn("sh", ["-c", `${shell} ${closed}`], { env, stdio: "ignore" });
      expect(await once(child, "exit"), closed).toEqual([0, null]);
    }
  });

  test("ends quietly when what reads its output closes it", async () => {
    const line = `${process.execPath} src/attune.js execution watch | head -n 2; echo "\${PIPESTATUS[0]}"`;
    const env = { PATH: process.env["PATH"] ?? "", ATTUNE_URL: server.url, ATTUNE_TOKEN: server.token };
    const child = spawn("bash", ["--norc", "-c", line], { env });
    const output = Promise.all([text(child.stdout), text(child.stderr)]);
    await until(async () => {
      await execute(server, "core.noop", {});
      return child.exitCode !== null;
    }, "its end");
    const [stdout, stderr] = await output;
    expect({ stdout, stderr }).toEqual({ stdout: expect.stringMatching(/^TIME .*\n.*core\.noop.*\n0\n$/), stderr: "" });
  });

  test("exits with 130 at Ctrl-C in the middle of a watch", async () => {
    const watch = spawnCommand(["execution", "watch"], { server });
    watch.end();
    let output = "";
    watch.child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    await until(async () => {
      await execute(server, "core.noop", {});
      return output.includes("COMPLETED");
    }, "a message");
    watch.child.kill("SIGINT");
    const { code, stderr } = await watch.ended;
    expect({ code, stderr }).toEqual({ code: 130, stderr: "" });
  });
});

describe("on a terminal of the width 0", () => {
  const env = () => ({ XDG_CONFIG_HOME: scratch, ATTUNE_URL: server.url });

  test("a table is whole, with bold heads", async () => {
    const { shown, code } = await onTerminal(["action", "list", "--token", server.token], env());
    expect(code).toBe(0);
    expect(shown.replaceAll("\u001b", "<esc>")).toMatch(/^<esc>\[1mREF .*ENABLED.*RUNTIME<esc>\[\d+m\r\n/);
    expect(shown).toMatch(/core\.http_request +HTTP request +yes +core\.action\.builtin\r\n/);
  });

  test("a password is asked for and not shown; Ctrl-C there exits with 130", async () => {
    await mutate(server, "setPassword", { login: "admin", password: "a long enough password" }, "__typename");
    const args = ["auth", "login", "--login", "admin"];
    const { shown, code } = await onTerminal(args, env(), { prompt: "Password: ", typed: "a long enough password\r" });
    expect(shown).toMatch(/^Password: \s+Signed in to \S+ as admin \(profile default\)\.\r\n$/);
    expect(code).toBe(0);
    expect(await onTerminal(args, env(), { prompt: "Password: ", typed: "a lo\u0003" })).toEqual({
      shown: "Password: \r\n",
      code: 130,
    });
  });
});

/** Returns what a shell prints that finds `attune` on its path, and the server's address in its environment. */
async function completeIn(shell: string, args: string[]): Promise<string> {
  const bin = mkdtempSync(join(scratch, "bin-"));
  const program = join(bin, "attune");
  writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${resolve("src/attune.js")} "$@"\n`);
  chmodSync(program, 0o755);
  const env = {
    PATH: `${bin}:${process.env["PATH"]}`,
    HOME: scratch,
    XDG_CONFIG_HOME: scratch,
    ATTUNE_URL: server.url,
    ATTUNE_TOKEN: server.token,
  };
  const cwd = mkdtempSync(join(scratch, "empty-"));
  const child = spawn(shell, args, { cwd, env, timeout: 25_000 });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  expect(stderr).toBe("");
  expect(readdirSync(cwd)).toEqual([]); // nothing that was typed has run
  return stdout;
}

describe("completion in bash", () => {
  /** Returns what Tab offers at the end of each line. */
  async function offered(...lines: string[]): Promise<string[][]> {
    const script = `
      eval "$(attune completion bash)"
      eval "$(attune completion bash)" # a shell may read its settings twice
      for COMP_LINE; do
        COMP_POINT=\${#COMP_LINE}
        _attune
        echo "\${COMPREPLY[@]}"
      done`;
    const stdout = await completeIn("bash", ["--norc", "-c", script, "bash", ...lines]);
    return stdout
      .split("\n")
      .slice(0, -1)
      .map((line) => line.split(" ").filter(Boolean));
  }

  test("offers commands, options, their values, and the server's refs; evaluates nothing that is typed", async () => {
    const [command, below, option, value, refs, ofOption, afterOptions, hostile, nowhere] = await offered(
      "attune exec",
      "attune execution ",
      "attune execution list --st",
      "attune action list --output=j",
      "attune run core.e",
      "attune execution list --action core.sl",
      "attune --verbose --output json action sh",
      "attune run $(touch x) `touch x` ; touch x",
      "attune run --url http://127.0.0.1:9 core.",
    );
    expect(command).toEqual(["execution"]);
    expect(below).toEqual(expect.arrayContaining(["list", "show", "watch", "logs", "tree"]));
    expect(option).toEqual(["--status"]);
    expect(value).toEqual(["json"]);
    expect(refs).toEqual(["core.echo"]);
    expect(ofOption).toEqual(["core.sleep"]);
    expect(afterOptions).toEqual(["show"]);
    expect([hostile, nowhere]).toEqual([[], []]);
  });
});

/** Whether the shell is on the path. */
const hasShell = (name: string) => spawnSync(name, ["-c", "exit 0"]).status === 0;

const typed = [
  "attune exec",
  "attune execution list --st",
  "attune action list --output=j",
  "attune run core.e",
  "attune run $(touch x) ; touch x",
];

// Needs zsh, with its module for pseudo-terminals.
test.skipIf(!hasShell("zsh"))("completion in zsh", async () => {
  // An interactive zsh gets each line with a Tab, and then a key that prints the line as it has become.
  const script = `
    zmodload zsh/zpty
    zpty -b shell zsh -f -i
    zpty -w shell 'show() print -r -- "<$BUFFER>"; zle -N show; bindkey "^X" show; bindkey "^U" kill-whole-line
      autoload -Uz compinit; compinit -u -D; eval "$(attune completion zsh)"; print is-$((1 + 1))-ready'
    zpty -r shell out '*is-2-ready*'
    for line; do
      zpty -n -w shell "$line"$'\\t\\x18'
      zpty -r shell out '*<*>*'
      print -r -- "\${\${out##*<}%%>*}"
      zpty -n -w shell $'\\x15'
    done`;
  expect((await completeIn("zsh", ["-f", "-c", script, "zsh", ...typed])).split("\n")).toEqual([
    "attune execution ",
    "attune execution list --status ",
    "attune action list --output=json ",
    "attune run core.echo ",
    "attune run $(touch x) ; touch x",
    "",
  ]);
});

// Needs fish.
test.skipIf(!hasShell("fish"))("completion in fish", async () => {
  const script = "attune completion fish | source; for line in $argv; complete -C $line; echo; end";
  const offers = (await completeIn("fish", ["--no-config", "-c", script, ...typed])).split("\n\n");
  expect(offers.map((each) => each.trim().split("\t")[0])).toEqual([
    "execution",
    "--status",
    "--output=json",
    "core.echo",
    "",
  ]);
});
