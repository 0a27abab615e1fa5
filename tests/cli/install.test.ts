import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommand, spawnCommand } from "../support/cli.ts";
import { overSocket } from "../support/client.ts";
import { packDirectories } from "../support/pack.ts";
import { createProxy } from "../support/proxy.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { onTerminal } from "../support/terminal.ts";
import { until } from "../support/until.ts";
import { execute } from "./seed.ts";

const directories = packDirectories();
const scratch = mkdtempSync(join(tmpdir(), "attune-cli-install-"));
let server: RunningServer;
beforeAll(async () => {
  server = await startInProcess();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true });
});

/** Returns the directory of a pack whose tests end when `go` is called, and a function that waits until they run. */
function waitingPack(ref: string) {
  const [began, go] = [join(scratch, `${ref}-began`), join(scratch, `${ref}-go`)];
  const directory = directories({
    "pack.yaml": `ref: ${ref}\nlabel: x\nversion: 1.0.0\ntesting: {runners: {shell: {type: script, entry_point: tests/run.sh, result_format: tap}}}\n`,
    "tests/run.sh": `touch ${began}\nwhile [ ! -e ${go} ]; do sleep 0.05; done\necho 1..1; echo ok 1 - ends\n`,
  });
  return {
    directory,
    begun: () => until(() => existsSync(began), "the tests to run", 20_000),
    go: () => writeFileSync(go, ""),
  };
}

/** The durations differ from run to run. */
const withoutTimes = (text: string) => text.replaceAll(/\d+\.\d s/g, "N s").replaceAll(/[0-9a-f]{64}/g, "DIGEST");

const lines = (ref: string) => `fetch: fetching the pack
fetch: an archive that was uploaded
fetch done in N s
checksum: comparing its digest
checksum: its SHA-256 is DIGEST
checksum done in N s
check: checking its files
check: ${ref} 1.0.0
check done in N s
dependencies: checking what it needs
dependencies done in N s
environments skipped: it needs none
tests: testing it
tests: testing: shell
tests: 1 passed, 0 failed, 0 skipped
tests done in N s
activate: activating it
activate: ${ref} 1.0.0 is installed
activate done in N s
`;

interface Message {
  cursor: string;
  step: string;
  status: string;
  message: string | null;
  attempt: number;
  durationMs: number;
  startedAt: string;
  occurredAt: string;
}
const fields = "cursor step status message attempt durationMs startedAt occurredAt";

describe("attune pack install", () => {
  test("prints a line for each step in a pipe, across a connection that breaks; the API has the same steps after any cursor", async () => {
    await using proxy = await createProxy(server.url);
    const { directory, begun, go } = waitingPack("piped");
    const command = spawnCommand(["pack", "install", directory, "--output", "json"], {
      server: { url: proxy.url, token: server.token },
    });
    command.end();
    await begun();
    proxy.cut();
    go();
    const { code, stdout, stderr } = await command.ended;
    expect(JSON.parse(stdout)).toMatchObject({ pack: "piped", changed: true, tests: { passed: 1 } });
    const broken = /^The connection was lost \(.*\): connecting again …\n/m;
    expect(stderr).toMatch(broken);
    expect({ code, stderr: withoutTimes(stderr.replace(broken, "")) }).toEqual({ code: 0, stderr: lines("piped") });

    const { executions } = await request<{ executions: { nodes: { id: string }[] } }>(
      server,
      '{ executions(first: 1, where: {action: {eq: "core.install_pack"}}, orderBy: {field: CREATED, direction: DESC}) { nodes { id } } }',
    );
    const id = executions.nodes[0]?.id ?? "";
    const query = `subscription($id: ID!, $after: Cursor) { packInstallProgress(id: $id, after: $after) { ${fields} } }`;
    const whole = overSocket<Message>(server, { query, variables: { id } });
    await whole.ended;
    expect(whole.seen.map(({ step, status }) => `${step} ${status}`)).toEqual([
      ...["FETCH RUNNING", "FETCH RUNNING", "FETCH DONE"],
      ...["CHECKSUM RUNNING", "CHECKSUM RUNNING", "CHECKSUM DONE"],
      ...["CHECK RUNNING", "CHECK RUNNING", "CHECK DONE"],
      ...["DEPENDENCIES RUNNING", "DEPENDENCIES DONE", "ENVIRONMENTS SKIPPED"],
      ...["TESTS RUNNING", "TESTS RUNNING", "TESTS RUNNING", "TESTS DONE"],
      ...["ACTIVATE RUNNING", "ACTIVATE RUNNING", "ACTIVATE DONE"],
    ]);
    for (const { attempt, durationMs, startedAt, occurredAt } of whole.seen) {
      expect(attempt).toBe(1);
      expect(Date.parse(occurredAt) - Date.parse(startedAt)).toBe(durationMs);
    }
    const middle = whole.seen[6]?.cursor;
    const rest = overSocket<Message>(server, { query, variables: { id, after: middle } });
    await rest.ended;
    expect(rest.seen).toEqual(whole.seen.slice(7));
    const polled: Message[] = [];
    for (let after = middle; ; after = polled.at(-1)?.cursor) {
      const { found } = await request<{ found: Message[] }>(
        server,
        `query($id: ID!, $after: Cursor) { found: packInstallProgressMessages(id: $id, after: $after, first: 5) { ${fields} } }`,
        { id, after },
      );
      if (found.length === 0) break;
      polled.push(...found);
    }
    expect(polled).toEqual(rest.seen);
    const other = overSocket(server, { query, variables: { id: await execute(server, "core.noop", {}) } });
    await other.ended;
    expect(other.error()).toMatchObject([
      {
        message: "id: expected an execution of core.install_pack, not of core.noop",
        extensions: { code: "BAD_USER_INPUT" },
      },
    ]);
  });

  test("says at Ctrl-C that the installation goes on, which it does", async () => {
    const { directory, begun, go } = waitingPack("stopped");
    const command = spawnCommand(["pack", "install", directory], { server });
    command.end();
    let shown = "";
    command.child.stderr.on("data", (chunk: Buffer) => {
      shown += chunk;
    });
    await begun();
    await until(() => shown.includes("tests: testing: shell"), "the step");
    command.child.kill("SIGINT");
    const { code, stderr } = await command.ended;
    expect(code).toBe(130);
    expect(stderr).toMatch(
      /\nThe installation goes on: "attune execution logs (\S+) --follow" shows it, "attune execution cancel \1" ends it\.\n$/,
    );
    const [, id = ""] = /logs (\S+) --follow/.exec(stderr) ?? [];
    go();
    expect(await runCommand(["execution", "logs", id, "--follow"], { server })).toMatchObject({
      ...{ code: 0, stderr: expect.stringContaining("::step activate done attempt 1 after ") },
    });
  });

  test("is undone by uninstall, which first says what would go and refuses what others need", async () => {
    const action = {
      "actions/say.yaml": "ref: beam.say\nlabel: S\nrunner_type: shell\nentry_point: actions/say.sh\n",
      "actions/say.sh": "echo 1\n",
    };
    const install = (ref: string, more: string, files: Record<string, string> = {}) =>
      runCommand(["pack", "install", directories({ "pack.yaml": `ref: ${ref}\nlabel: x\n${more}\n`, ...files })], {
        server,
      });
    expect(await install("beam", "version: 1.2.0", action)).toMatchObject({ code: 0 });
    expect(await install("roof", 'version: 2.0.0\ndependencies: ["beam@^1"]')).toMatchObject({ code: 0 });
    expect(await runCommand(["pack", "uninstall", "beam", "--yes"], { server })).toEqual({
      ...{ code: 1, stdout: "" },
      stderr:
        "beam 1.2.0 goes, with 1 action.\nerror: roof 2.0.0 (beam@^1) needs beam: uninstall it first, or update it to a version that does without.\n",
    });
    expect((await runCommand(["pack", "install", "git@example.org:x/beam.git"], { server })).stderr).toBe(
      "error: Repositories come by https, not by ssh: write https://… in a form that ends in .git.\n",
    );
    expect(await runCommand(["pack", "uninstall", "roof", "--yes"], { server })).toMatchObject({ code: 0 });
    expect(await runCommand(["pack", "uninstall", "beam", "--yes"], { server })).toMatchObject({
      ...{ code: 0, stdout: "beam is deleted.\n" },
    });
  });

  test("draws a list of the steps on a terminal, and lines on one without a width", async () => {
    const env = { XDG_CONFIG_HOME: scratch, ATTUNE_URL: server.url };
    const install = async (directory: string, columns: number) => {
      const { shown, code } = await onTerminal(["pack", "install", directory, "--token", server.token], env, {
        columns,
      });
      return { code, last: withoutTimes(stripVTControlCharacters(shown).replaceAll("\r\n", "\n")) };
    };
    const drawn = waitingPack("drawn");
    drawn.go();
    const list = await install(drawn.directory, 60);
    expect(list.code).toBe(0);
    expect(list.last.slice(list.last.lastIndexOf("✔ fetch"))).toMatch(
      /^✔ fetch: an archive that was uploaded \(N s\)\n✔ checksum: its SHA-256 is .*…\n✔ check: drawn 1\.0\.0 \(N s\)\n✔ dependencies \(N s\)\n↓ environments: it needs none\n✔ tests: 1 passed, 0 failed, 0 skipped \(N s\)\n✔ activate: drawn 1\.0\.0 is installed \(N s\)\npack: +drawn\n/,
    );
    const faulty = directories({ "pack.yaml": "ref: drawn\nlabel: x\nversion: one\n" });
    writeFileSync(join(drawn.directory, "tests/run.sh"), "echo 1..1; echo not ok 1 - ends\n");
    const failed = await install(drawn.directory, 60);
    expect(failed.code).toBe(1);
    expect(failed.last.slice(failed.last.lastIndexOf("✔ fetch"))).toMatch(
      /\n✖ tests: The tests of drawn 1\.0\.0 failed: .*\n◼ activate\nerror: The tests of drawn 1\.0\.0 failed: 1 of 1 tests failed: ends\.\n$/,
    );
    expect((await install(faulty, 60)).last).toContain("pack.yaml:3:10 version"); // before anything is requested
    const flat = waitingPack("flat");
    flat.go();
    const { last } = await install(flat.directory, 0);
    expect(last.slice(0, lines("flat").length)).toBe(lines("flat"));
  });
});
