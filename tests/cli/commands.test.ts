import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocketServer } from "ws";
import { parse } from "yaml";
import { runCommand, startCommand } from "../support/cli.ts";
import { createProxy } from "../support/proxy.ts";
import { createLink, type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { execute, mutate, upload } from "./seed.ts";

const scratch = mkdtempSync(join(tmpdir(), "attune-cli-"));
let server: RunningServer;
beforeAll(async () => {
  server = await startInProcess();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true });
});

const attune = (...args: string[]) => runCommand(args, { server });

/** Returns the columns of a table's first line. */
const heads = (table: string) => table.split("\n")[0]?.split(/ {2,}/);

describe("a command line that is wrong is refused with 2", () => {
  test.each([
    ["no command", [], /^Usage: attune/],
    ["an unknown command", ["foo"], /unknown command 'foo'/],
    ["a mistyped command", ["action", "lst"], /Did you mean list\?/],
    ["a missing operand", ["action", "show"], /missing required argument 'ref'/],
    ["an operand too many", ["action", "show", "a", "b"], /too many arguments/],
    ["an unknown option", ["action", "list", "--colour"], /unknown option '--colour'/],
    ["another form of output", ["action", "list", "--output", "xml"], /Allowed choices are table, json, yaml/],
    ["no count", ["action", "list", "--limit", "0"], /must be a whole number above 0/],
    [
      "no status",
      ["execution", "list", "--status", "done"],
      /"done" is not one of abandoned, .*completed, .*timeout\./,
    ],
    ["no JSON", ["action", "list", "--where", "{"], /--where takes an object of JSON/],
    ["no time", ["event", "list", "--since", "soon"], /"soon" is neither a time such as .* nor a duration/],
    ["no address", ["action", "list", "--url", "ftp://x"], /"ftp:\/\/x" is not the address of a server/],
    ["an unknown profile", ["action", "list", "--profile", "x"], /There is no profile "x" in .*auth login --profile x/],
    ["a value without a name", ["run", "core.echo", "hello"], /"hello" gives no value: write it as name=value/],
    ["a name given twice", ["run", "core.echo", "a=1", "a=2"], /"a" is given twice/],
    ["a missing file", ["run", "core.echo", "--params", "/no/file"], /The file cannot be read: ENOENT/],
    ["an empty standard input", ["run", "core.echo", "--params", "-"], /Standard input is empty/],
    ["two ways to go on", ["run", "core.echo", "--watch", "--wait"], /cannot be used with/],
    [
      "no terminal for a password",
      ["auth", "login", "--login", "admin"],
      /no terminal to ask for Password.*--password-stdin/,
    ],
    ["no way to sign in", ["auth", "login"], /Sign in with a link/, { ATTUNE_TOKEN: "" }],
    ["no number", ["rule", "restore", "default.x", "first"], /"first" is not the number of a revision/],
    ["no payload for a rule", ["rule", "test", "default.x"], /Give either --event or a payload/],
    [
      "a name that is no profile's",
      ["auth", "login", "--token-stdin", "--profile", "__proto__"],
      /is no name for a profile/,
    ],
    ["serve after an option", ["--verbose", "serve"], /Write "serve" or "link" first/],
  ] as [name: string, args: string[], sentence: RegExp, env?: Record<string, string>][])(
    "%s",
    async (_name, args, sentence, env = {}) => {
      const { code, stdout, stderr } = await runCommand(args, { server, env });
      expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: "", stderr: expect.stringMatching(sentence) });
    },
  );

  test("a file that is neither JSON nor YAML, or no object", async () => {
    for (const [text, sentence] of [
      ["a: [", /Standard input is neither JSON nor YAML/],
      ["- 1", /Standard input must contain an object/],
    ] as const) {
      const { code, stderr } = await runCommand(["run", "core.echo", "--params", "-"], { server, stdin: text });
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(sentence) });
    }
  });
});

describe("what fails is explained in a sentence, with 1", () => {
  test.each([
    ["a refusal", ["run", "core.echo"], /^error: parameters\.message: is required\n$/],
    [
      "every fault of an input",
      ["run", "core.echo", "x=1"],
      /^error: The input is invalid:\n {2}parameters\.message: is required\n {2}parameters\.x: there is no parameter/,
    ],
    [
      "an action that does not exist",
      ["run", "core.nothing", "a=1"],
      /^error: There is no action "core\.nothing"\.\n$/,
    ],
    [
      "a ref that does not exist",
      ["pack", "show", "nope"],
      /^error: There is no pack "nope", or you may not read it\.\n$/,
    ],
    ["what is no id", ["execution", "show", "x"], /^error: id: "x" is not an id\n$/],
    [
      "an unreachable server",
      ["pack", "list", "--url", "http://127.0.0.1:9"],
      /^error: http:\/\/127\.0\.0\.1:9 cannot be reached \(.+\): start a server with "attune serve", or name another with --url\.\n$/,
    ],
    ["a wrong token", ["pack", "list", "--token", "x"], /^error: The credential is not valid, .*auth login/],
    ["a wrong link", ["auth", "login", "http://127.0.0.1:9/sign-in#x"], /cannot be reached/],
    ["a session to end that is not stored", ["auth", "logout"], /No credential is stored in profile default/],
  ] as const)("%s", async (_name, args, sentence) => {
    expect(await attune(...args)).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(sentence) });
  });

  test("no credential", async () => {
    const { code, stderr } = await runCommand(["pack", "list"], { server: { url: server.url } });
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^error: Nothing signs you in at http:.*auth login/),
    });
  });

  test("an action that fails, also when it is followed", async () => {
    const followed = await attune("run", "core.fail", "--follow");
    expect(followed.code).toBe(1);
    expect(followed.stderr).toMatch(/has ended: FAILED \(.+\)\n$/);
    expect((await attune("run", "core.fail", "--wait")).code).toBe(1);
    expect((await attune("run", "core.fail", "--watch")).code).toBe(1);
  });

  test("a server of another kind", async () => {
    await using other = await listen(() => "hello");
    const { code, stderr } = await attune("pack", "list", "--url", other.url);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/is no Attune server: .*status 200/) });
  });
});

/** A server that answers every request with a text. */
async function listen(answer: (request: IncomingMessage) => string) {
  const http = createServer((incoming, response) => response.end(answer(incoming)));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    http,
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      http.closeAllConnections();
      http.close();
    },
  };
}

describe("lists", () => {
  test("are tables for people, and arrays for programs", async () => {
    const table = await attune("action", "list", "--pack", "core");
    expect(heads(table.stdout)).toEqual(["REF", "LABEL", "ENABLED", "RUNTIME"]);
    expect(table.stdout).toMatch(/^core\.echo +Echo +yes +core\.action\.shell$/m);
    const json = await attune("action", "list", "--pack", "core", "--output", "json");
    const yaml = await attune("--output", "yaml", "action", "list", "--pack", "core");
    expect(parse(yaml.stdout)).toEqual(JSON.parse(json.stdout));
    expect(JSON.parse(json.stdout)[0]).toMatchObject({
      ref: "core.echo",
      enabled: true,
      runtime: { ref: "core.action.shell" },
    });
  });

  test("have pages, and --all has everything in order", async () => {
    const refs = async (...args: string[]) => {
      const { stdout, stderr } = await attune("action", "list", "--output", "json", ...args);
      return { refs: JSON.parse(stdout).map(({ ref }: { ref: string }) => ref) as string[], stderr };
    };
    const all = await refs("--all");
    expect(all.stderr).toBe("");
    const first = await refs("--limit", "2");
    expect(first.refs).toEqual(all.refs.slice(0, 2));
    const [, after = ""] = /--after (\S+), or --all/.exec(first.stderr) ?? [];
    expect((await refs("--limit", "100", "--after", after)).refs).toEqual(all.refs.slice(2));
  });

  test("take any other condition of the API besides their filters", async () => {
    const where = JSON.stringify({ or: [{ ref: { eq: "core.echo" } }, { ref: { eq: "core.noop" } }] });
    const { stdout } = await attune("action", "list", "--search", "echo", "--where", where, "--output", "json");
    expect(JSON.parse(stdout)).toHaveLength(1);
    const none = await attune("action", "list", "--search", "nothing like it");
    expect(none).toEqual({ code: 0, stdout: "", stderr: "There are no actions that match.\n" });
  });

  test("fit the terminal, count wide characters, and do not let output steer it", async () => {
    const label = `工作流程\u001b[2Jx${"y".repeat(80)}`;
    await mutate(server, "createTrigger", { ref: "default.wide", label }, "__typename");
    await mutate(server, "createTrigger", { ref: "default.wild", label: "plain" }, "__typename");
    const args = ["trigger", "list", "--pack", "default"];
    const narrow = await runCommand(args, { server, columns: 40 });
    expect(narrow.stdout).not.toContain("\u001b[2J");
    expect(narrow.stdout).toContain("工作流程\\x1b[2J");
    expect(narrow.stdout.split("\n").filter((line) => line.includes("…"))).not.toEqual([]);
    for (const columns of [0, undefined]) {
      const { stdout } = await runCommand(args, { server, ...(columns === undefined ? {} : { columns }) });
      expect(stdout).toContain("y".repeat(80));
      const [wide = "", plain = ""] = stdout.split("\n").filter((line) => line.startsWith("default.wi"));
      // Each of the four wide characters takes two cells.
      expect(plain.indexOf("yes") - wide.indexOf("yes")).toBe(4);
    }
    expect((await runCommand(args, { server })).stdout).not.toContain("\u001b");
  });
});

describe("parameters", () => {
  test("are read as their schema says, over those of a file", async () => {
    const stdin = JSON.stringify({ command: "false", args: ["a"] });
    const args = ["run", "core.shell", "command=echo $1", 'args=["2"]', "--params", "-", "--wait", "--output", "json"];
    const { code, stdout } = await runCommand(args, { server, stdin });
    expect({ code, result: JSON.parse(stdout).result }).toMatchObject({ code: 0, result: { data: "2" } });
    const echoed = await attune("run", "core.echo", "message=1=2", "--wait", "--output", "json");
    expect(JSON.parse(echoed.stdout).result.data).toBe("1=2");
  });
});

describe("what an execution does", () => {
  test("is printed as it happens: output where it was written, every change of its status once", async () => {
    const command = "echo out; echo err >&2; printf 'no end'";
    const followed = await attune("run", "core.shell", `command=${command}`, "--follow");
    expect(followed).toMatchObject({ code: 0, stdout: "out\nno end" });
    expect(followed.stderr).toMatch(/^err\n\S+ has ended: COMPLETED\n$/);
    const { stdout } = await attune("run", "core.echo", "message=x", "--watch", "--output", "json");
    const statuses = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).toStatus);
    expect(statuses).toEqual(["REQUESTED", "SCHEDULING", "SCHEDULED", "RUNNING", "COMPLETED"]);
  });

  test("is printed whole, whatever the network does", async () => {
    await using proxy = await createProxy(server.url);
    const command = "for i in $(seq 30); do echo line $i; sleep 0.03; done";
    const followed = startCommand(["run", "core.shell", `command=${command}`, "--follow"], {
      server: { url: proxy.url, token: server.token },
    });
    for (const line of [3, 9, 18]) {
      await until(() => followed.stdout().includes(`line ${line}\n`), "the output");
      proxy.cut();
    }
    const { code, stdout, stderr } = await followed.ended;
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: Array.from({ length: 30 }, (_, i) => `line ${i + 1}\n`).join(""),
    });
    expect(stderr).toMatch(/^The connection was lost/);
  });

  test("is a tree", async () => {
    const node = (id: string, ...path: string[]) => ({ id, actionRef: "a.b", status: "RUNNING", path: [...path, id] });
    const nodes = [node("2", "1"), node("4", "1", "2"), node("3", "1")];
    const pageInfo = { hasNextPage: false, endCursor: null };
    await using other = await listen(() =>
      JSON.stringify({ data: { execution: { ...node("1"), descendants: { nodes, pageInfo } } } }),
    );
    const { stdout } = await attune("execution", "tree", "1", "--url", other.url);
    expect(stdout.replaceAll("  RUNNING  a.b", "")).toBe("1\n├─ 2\n│  └─ 4\n└─ 3\n");
  });

  test("is read later: its log, its end, its tree", async () => {
    const id = await execute(server, "core.shell", { command: "for i in $(seq 300); do echo line $i; done" });
    expect((await attune("execution", "wait", id)).stdout).toMatch(/^status: +COMPLETED$/m);
    expect((await attune("execution", "wait", id)).code).toBe(0);
    const { stdout } = await attune("execution", "logs", id);
    expect(stdout).toBe(Array.from({ length: 300 }, (_, i) => `line ${i + 1}\n`).join(""));
    expect((await attune("execution", "tree", id)).stdout).toBe(`${id}  COMPLETED  core.shell\n`);
    expect(JSON.parse((await attune("execution", "tree", id, "--output", "json")).stdout)).toMatchObject({
      id,
      children: [],
    });
  });

  test("is cancelled, each of many", async () => {
    const [long = "", another = ""] = await Promise.all(
      [0, 1].map(() => execute(server, "core.sleep", { seconds: 60 })),
    );
    const over = await execute(server, "core.noop", {});
    await attune("execution", "wait", over);
    const { code, stdout, stderr } = await attune("execution", "cancel", long, over, another);
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`^error: ${over}: The execution has already ended`));
    expect(stdout).toContain(long);
    expect(stdout).toContain(another);
  });
});

describe("a broken connection", () => {
  test("loses and repeats no message of a watch, and ends at Ctrl-C", async () => {
    await using proxy = await createProxy(server.url);
    const ref = "default.cut";
    await mutate(server, "createTrigger", { ref }, "__typename");
    const watch = startCommand(["event", "watch", "--trigger", ref, "--output", "json"], {
      server: { url: proxy.url, token: server.token },
    });
    const emitted: string[] = [];
    const emit = async () => {
      const { event } = await mutate<{ event: { id: string } }>(
        server,
        "createEvent",
        { trigger: ref },
        "event { id }",
      );
      emitted.push(event.id);
    };
    const seen = () =>
      watch
        .stdout()
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line).eventId as string);
    await until(async () => {
      await emit();
      return seen().length > 0;
    }, "the first message");
    for (let round = 0; round < 3; round++) {
      proxy.become("refuse");
      proxy.cut();
      await emit();
      await emit();
      proxy.become("pass");
      await until(() => seen().at(-1) === emitted.at(-1), "the events of the break");
    }
    expect(seen()).toEqual(emitted.slice(-seen().length));
    expect(watch.stderr()).toMatch(/^The connection was lost \(.+\): connecting again …\n/);
    watch.interrupt();
    expect((await watch.ended).code).toBe(130);
  });

  test("is told from a stream that has fallen behind, which goes on too, and from one that cannot", async () => {
    const positions: unknown[] = [];
    await using other = await listen(() => '{"data": {"cursor": "c.1"}}');
    const sockets = new WebSocketServer({ server: other.http });
    sockets.on("connection", (socket) => {
      const send = (message: object) => socket.send(JSON.stringify(message));
      socket.on("message", (bytes) => {
        const { type, id, payload } = JSON.parse(String(bytes));
        if (type === "connection_init") send({ type: "connection_ack" });
        if (type !== "subscribe") return;
        positions.push(payload.variables.after);
        const error = (code: string) => [{ message: `It is ${code}.`, extensions: { code } }];
        const data = { eventCreated: { cursor: `c.${positions.length + 1}`, eventId: "x" } };
        send({ id, type: "next", payload: { data } });
        send({
          id,
          type: "error",
          payload: error(["LAGGED", "UNAVAILABLE", "CURSOR_EXPIRED"][positions.length - 1] ?? ""),
        });
      });
    });
    const { code, stdout, stderr } = await attune("event", "watch", "--url", other.url, "--output", "json");
    expect({ code, positions }).toEqual({ code: 1, positions: ["c.1", "c.2", "c.3"] });
    expect(stdout.match(/eventId/g)).toHaveLength(3);
    expect(stderr).toMatch(
      /^The connection was lost \(It is LAGGED\.\).*\n.*UNAVAILABLE.*\nerror: It is CURSOR_EXPIRED\.\n$/,
    );
  });

  test("ends a watch whose credential ends", async () => {
    const selection = "value apiToken { id }";
    const { value, apiToken } = await mutate<{ value: string; apiToken: { id: string } }>(
      server,
      "createApiToken",
      { label: "brief" },
      selection,
    );
    const watch = startCommand(["worker", "watch", "--verbose"], { server: { url: server.url, token: value } });
    await until(() => watch.stderr().includes("cursor: status 200"), "the beginning");
    await mutate(server, "revokeApiToken", { id: apiToken.id }, "__typename");
    const { code, stderr } = await watch.ended;
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/error: The credential is not valid, or no longer/),
    });
  });
});

describe("signing in", () => {
  const env = { XDG_CONFIG_HOME: join(scratch, "config"), ATTUNE_URL: "", ATTUNE_TOKEN: "" };
  const file = join(scratch, "config/attune/config.json");
  const login = (args: string[], stdin = "") => runCommand(["auth", ...args], { env, stdin });
  const who = async () => JSON.parse((await login(["whoami", "--output", "json"])).stdout);

  test("with a link starts a session, which signing out ends", async () => {
    const link = `${server.url}${await createLink(server)}`;
    expect(await login(["login", link])).toEqual({
      code: 0,
      stdout: "",
      stderr: `Signed in to ${server.url} as admin (profile default).\n`,
    });
    expect(await who()).toMatchObject({ login: "admin", server: server.url, credential: "profile default" });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { token } = JSON.parse(readFileSync(file, "utf8")).profiles.default;
    expect((await login(["logout"])).code).toBe(0);
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ profiles: {} });
    // A server keeps what it knows of a session for a moment.
    const withSession = { server: { url: server.url, token } };
    await until(async () => (await runCommand(["pack", "list"], withSession)).code === 1, "the end of the session");
    expect((await login(["login", link])).stderr).toMatch(/^error: /);
  });

  test("with a password or a token stores profiles beside one another", async () => {
    await mutate(server, "setPassword", { login: "admin", password: "a long enough password" }, "__typename");
    const byPassword = ["login", "--url", server.url, "--login", "admin", "--password-stdin"];
    expect((await login(byPassword, "wrong\n")).stderr).toMatch(/^error: .+/);
    expect((await login(byPassword, "a long enough password\n")).code).toBe(0);
    expect(
      (await login(["login", "--url", server.url, "--token-stdin", "--profile", "robot"], server.token)).code,
    ).toBe(0);
    expect(Object.keys(JSON.parse(readFileSync(file, "utf8")).profiles)).toEqual(["default", "robot"]);
    const robot = await login(["whoami", "--profile", "robot"]);
    expect(robot.stdout).toMatch(/^credential: +profile robot$/m);
    expect((await login(["logout", "--profile", "robot"])).stderr).toMatch(/Only this profile forgets the credential/);
    expect((await login(["login", "--url", server.url, "--token-stdin"], "wrong")).code).toBe(1);
    expect((await who()).login).toBe("admin");
  });

  test("is for one server: its credential is sent to no other", async () => {
    const credentials: (string | undefined)[] = [];
    await using other = await listen(({ headers }) => {
      credentials.push(headers.authorization);
      return "{}";
    });
    await runCommand(["pack", "list", "--url", other.url], { env });
    await runCommand(["pack", "list"], { env: { ...env, ATTUNE_URL: other.url } });
    expect(credentials).toEqual([undefined, undefined]);
  });

  test("is not needed beside an embedded server, whose file only its own user may read", async () => {
    const dataDir = join(scratch, "data");
    mkdirSync(dataDir);
    const credentials = join(dataDir, "credentials.json");
    const local = { XDG_CONFIG_HOME: scratch, ATTUNE__DATA_DIR: dataDir };
    writeFileSync(credentials, JSON.stringify({ url: server.url, token: server.token }), { mode: 0o600 });
    expect((await runCommand(["auth", "whoami"], { env: local })).stdout).toContain("the server's data directory");
    rmSync(credentials);
    writeFileSync(credentials, JSON.stringify({ url: server.url, token: server.token }), { mode: 0o644 });
    const readable = await runCommand(["auth", "whoami", "--url", server.url], { env: local });
    expect(readable.stderr).toMatch(/^error: Nothing signs you in/);
  });

  test("finds a damaged file of profiles", async () => {
    writeFileSync(file, "{");
    expect((await login(["whoami"])).stderr).toBe(
      `error: ${file} is damaged: delete it, and sign in again with "attune auth login".\n`,
    );
  });
});

describe("artifacts and keys", () => {
  test("are downloaded whole or not at all, and replace nothing by accident", async () => {
    const content = "x".repeat(200_000);
    await upload(server, "reports/big.txt", content);
    const to = join(scratch, "big.txt");
    expect((await attune("artifact", "download", "reports/big.txt", "--to", "-")).stdout).toBe(content);
    expect(await attune("artifact", "download", "reports/big.txt", "--to", to)).toMatchObject({ code: 0, stdout: "" });
    expect(readFileSync(to, "utf8")).toBe(content);
    const again = await attune("artifact", "download", "reports/big.txt", "--to", to);
    expect(again).toMatchObject({
      code: 1,
      stderr: `error: ${to} exists: choose another with --to, or replace it with --force.\n`,
    });
    expect((await attune("artifact", "download", "reports/none.txt")).code).toBe(1);
    expect((await attune("artifact", "download", "reports/big.txt", "--number", "7")).code).toBe(1);
    expect(existsSync("none.txt")).toBe(false);
    const nowhere = await attune("artifact", "download", "reports/big.txt", "--to", join(scratch, "no/file"));
    expect(nowhere).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: ENOENT: .*no\/.*\n$/) });
  });

  test("have values that are read from standard input and shown only when asked for", async () => {
    const set = await runCommand(["key", "set", "secret", "--pack", "default"], { server, stdin: "s3cret value\n" });
    expect(set).toMatchObject({ code: 0, stderr: "" });
    expect((await attune("key", "get", "pack.default.secret")).stdout).not.toContain("s3cret");
    expect((await attune("key", "get", "pack.default.secret", "--reveal")).stdout).toBe("s3cret value\n");
    expect((await attune("key", "delete", "pack.default.secret")).code).toBe(0);
    expect((await attune("key", "get", "pack.default.secret")).code).toBe(1);
  });
});

describe("rules and inquiries", () => {
  test("a rule is tested and linted, and its revisions are listed and restored; a finding fails", async () => {
    await mutate(
      server,
      "createTrigger",
      { ref: "default.checked", outSchema: { size: { type: "integer" } } },
      "__typename",
    );
    const rule = { ref: "default.check", trigger: "default.checked", action: "core.noop" };
    const conditions = [{ field: "size", operator: "GT", value: 3 }];
    await mutate(server, "createRule", { ...rule, conditions }, "__typename");
    const matching = await attune("rule", "test", "default.check", "size=4");
    expect(matching.stdout).toMatch(/^matches: +yes$/m);
    expect((await attune("rule", "test", "default.check", "size=3")).stdout).toMatch(/^matches: +no$/m);
    expect((await attune("rule", "lint", "default.check")).code).toBe(0);
    const unknown = [{ field: "sice", operator: "GT", value: 3 }];
    await mutate(server, "updateRule", { ref: "default.check", conditions: unknown }, "__typename");
    const found = await attune("rule", "lint", "default.check");
    expect(found.code).toBe(1);
    expect(found.stdout).toContain("UNKNOWN_PATH");
    const listed = await attune("rule", "revisions", "default.check");
    expect(heads(listed.stdout)).toEqual(["REVISION", "AT", "OWNER", "CHANGED"]);
    expect(listed.stdout).toMatch(/^2 .* conditions$/m);
    expect((await attune("rule", "restore", "default.check", "1")).stdout).toContain("default.check");
    expect((await attune("rule", "lint", "default.check")).code).toBe(0);
    const compared = await attune("rule", "revisions", "default.check", "--since", "1", "--output", "json");
    expect(JSON.parse(compared.stdout)).toMatchObject([{ number: 3, changes: [] }, { number: 2 }, { number: 1 }]);
    expect(await attune("rule", "restore", "default.check", "9")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("has no revision 9"),
    });
    expect((await attune("rule", "revisions", "default.none")).code).toBe(1);
  });

  test("a rule is back-tested as it is and with the contents of a file, and prints what would differ", async () => {
    await mutate(server, "createTrigger", { ref: "default.past" }, "__typename");
    const rule = { ref: "default.backtested", trigger: "default.past", action: "core.echo" };
    const conditions = [{ field: "size", operator: "GT", value: 3 }];
    await mutate(server, "createRule", { ...rule, actionParams: { message: "x" }, conditions }, "__typename");
    for (const size of [2, 4, 6])
      await mutate(server, "createEvent", { trigger: "default.past", payload: { size } }, "__typename");
    const now = await attune("rule", "backtest", "default.backtested");
    expect(now.stdout).toMatch(/^events: +3$/m);
    expect(now.stdout).toMatch(/^matches: +2$/m);
    expect(now.stdout).not.toContain("GAINED");
    const file =
      "condition: any\nconditions: [{any: [{field: size, operator: lt, value: 5}]}]\naction_params: {message: 'size {{ event.payload.size }}'}\n";
    const draft = ["rule", "backtest", "default.backtested", "--draft", "-"];
    const { stdout } = await runCommand(draft, { server, stdin: file });
    expect(stdout).toMatch(/GAINED .*size 2/);
    expect(stdout).toMatch(/LOST/);
    const json = await runCommand([...draft, "--output", "json"], { server, stdin: file });
    expect(JSON.parse(json.stdout)).toMatchObject({ events: 3, matches: 2, gained: 1, lost: 1, differences: [{}, {}] });
    const whole = `trigger_ref: default.past\naction_ref: core.echo\nbackstop: true\nactive_hours: {spans: [{days: [mon, tue], from: "08:00", to: "10:00"}]}\n${file}`;
    const run = (args: string[], stdin: string) => runCommand(["rule", ...args], { server, stdin });
    const unsaved = await run(["backtest", "--draft", "-"], whole.replace(/backstop.*\nactive.*\n/, ""));
    expect(unsaved.stdout).toMatch(/^matches: +2$/m);
    const tested = await run(
      ["test", "--draft", "-", "size=4", "--at", "2026-03-02T08:30:00Z", "--output", "json"],
      whole,
    );
    // The stored rule matches what is above 3.
    expect(JSON.parse(tested.stdout).criteria).toMatchObject([
      { path: "size" },
      { path: "activeHours", result: true },
      { path: "backstop", result: false },
    ]);
    expect((await run(["test", "default.backtested", "size=1", "--draft", "-"], file)).stdout).toMatch(/size 1/);
    const linted = await run(
      ["lint", "--draft", "-"],
      whole.replace('days: [mon, tue], from: "08:00", to: "10:00"', 'from: "00:00", to: "24:00"'),
    );
    expect([linted.code, linted.stdout]).toEqual([1, expect.stringContaining("UNREACHABLE")]);
    expect((await run(["test", "--draft", "-", "size=1"], "conditons: []")).stderr).toContain(
      'has "conditons", which no rule has',
    );
    expect((await run(["test", "--draft", "-", "size=1"], "action_ref: core.echo")).stderr).toContain(
      "has no trigger_ref",
    );
    for (const [args, reason] of [
      [["--sample", "2"], /--sample "2" must be a number above 0/],
      [["--from", "yesterday"], /--from "yesterday" is no time/],
    ] as const) {
      expect(await attune("rule", "backtest", "default.backtested", ...args)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(reason),
      });
    }
  });

  test("an inquiry is responded to, as its schema says", async () => {
    const execution = await execute(server, "core.inquire", {
      prompt: "Deploy?",
      response_schema: { approved: { type: "boolean", required: true } },
    });
    const id = await until(async () => {
      const { inquiries } = await request<{ inquiries: { nodes: { id: string }[] } }>(
        server,
        `{ inquiries(where: { execution: { eq: "${execution}" } }) { nodes { id } } }`,
      );
      return inquiries.nodes[0]?.id;
    }, "the inquiry");
    expect((await attune("inquiry", "respond", id, "approved=maybe")).stderr).toMatch(/^error: response\.approved: /);
    expect((await attune("inquiry", "respond", id, "approved=true")).stdout).toContain("RESPONDED");
    const { stdout } = await attune("execution", "wait", execution, "--output", "json");
    expect(JSON.parse(stdout).result.data.response).toEqual({ approved: true });
  });
});
