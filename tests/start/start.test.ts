import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { text } from "node:stream/consumers";
import { sql } from "drizzle-orm";
import { createClient } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { readConfig } from "../../src/config.ts";
import { StartError } from "../../src/errors.ts";
import { cloneDatabase, createServices, type Location, onPostgres } from "../support/database.ts";
import { processesWith } from "../support/processes.ts";
import {
  createLink,
  request,
  type ServerProcess,
  serve,
  serverEnvironment,
  startInProcess,
  startProcess,
} from "../support/server.ts";
import { until } from "../support/until.ts";

/** The program of a checkout, which `npm start` and `npm run link` run. */
const sources = "src/attune.js";
const scratch = mkdtempSync(join(tmpdir(), "attune-start-"));
const viewer = "{ viewer { identity { login } } }";
const nowhere: Location = { url: null, dataDir: join(scratch, "never-made") };

/** The result of a start that must fail: its exit code, its output, whether any process of its group is alive. */
async function failedStart(env: Record<string, string>, program = process.execPath) {
  const child = spawn(program, serve(), { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: child.exitCode, stdout, stderr, alive: isAlive(child) };
}

/** Runs `attune link` to its end. */
async function printLink(env: Record<string, string>) {
  const child = spawn(process.execPath, ["--liftoff-only", sources, "link"], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: child.exitCode, stdout, stderr };
}

/** Returns whether the process group that the child leads has a member. */
function isAlive({ pid }: ChildProcess): boolean {
  try {
    return process.kill(-(pid ?? 0), 0);
  } catch {
    return false;
  }
}

/** One sentence on one line, no stack, exit code 1, nothing left running. */
function expectSentence(failed: Awaited<ReturnType<typeof failedStart>>, sentence: RegExp): void {
  expect(failed).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(sentence), alive: false });
  expect(failed.stderr).toMatch(/^[^\n]+\.\n$/);
}

/** Returns the first Node on the PATH that is too old; null when there is none. */
function olderNode(): string | null {
  const programs = (process.env["PATH"] ?? "").split(delimiter).map((directory) => join(directory, "node"));
  const isOlder = (program: string) =>
    Number(execFileSync(program, ["--print", "process.versions.node.split('.')[0]"], { encoding: "utf8" })) < 24;
  return programs.find((program) => existsSync(program) && isOlder(program)) ?? null;
}

/** Refused settings, with the sentence that names the variable and the allowed values. */
const wrongSettings: [name: string, extra: Record<string, string>, sentence: RegExp][] = [
  [
    "an unknown name",
    { ATTUNE__SERVER__PROT: "1" },
    /ATTUNE__SERVER__PROT; did you mean "ATTUNE__SERVER__PORT"\?; the README lists them all/,
  ],
  [
    "a port that is not a number",
    { ATTUNE__SERVER__PORT: "http" },
    /ATTUNE__SERVER__PORT is wrong: .*number.*; it is "http"\.$/,
  ],
  ["a port out of range", { ATTUNE__SERVER__PORT: "65536" }, /ATTUNE__SERVER__PORT is wrong: .*65535/],
  [
    "an unknown role",
    { ATTUNE__ROLES: "api,cook" },
    /ATTUNE__ROLES is wrong: expected one of api, executor, worker, sensor; it is "api,cook"/,
  ],
  [
    "an invalid flag",
    { ATTUNE__DATABASE__FSYNC: "maybe" },
    /ATTUNE__DATABASE__FSYNC is wrong: expected one of true, false/,
  ],
  [
    "a short key",
    { ATTUNE__SECURITY__ENCRYPTION_KEY: "4242" },
    /ENCRYPTION_KEY is wrong: must be 64 hexadecimal digits\.$/,
  ],
  [
    "a missing key file",
    { ATTUNE__SECURITY__ENCRYPTION_KEY: "", ATTUNE__SECURITY__ENCRYPTION_KEY_FILE: join(scratch, "no.key") },
    /ENCRYPTION_KEY_FILE: .*no\.key cannot be read; it must hold 64 hexadecimal digits/,
  ],
  [
    "another kind of database",
    { ATTUNE__DATABASE__URL: "mysql://db/x" },
    /DATABASE__URL is wrong: must be a URL such as postgres:/,
  ],
  ["an invalid database URL", { DATABASE_URL: "postgres://a b:99999999/x" }, /DATABASE_URL is wrong: must be a URL/],
  [
    "no authentication on an open address",
    { ATTUNE__SECURITY__ENABLE_AUTH: "false", ATTUNE__SERVER__HOST: "0.0.0.0" },
    /ENABLE_AUTH=false is refused on 0\.0\.0\.0: set ATTUNE__SERVER__HOST to 127\.0\.0\.1/,
  ],
  ["an invalid host", { ATTUNE__SERVER__HOSTS: "https://attune.example.org" }, /HOSTS is wrong: must be names such as/],
  ["every origin", { ATTUNE__SERVER__CORS_ORIGINS: "*" }, /CORS_ORIGINS is wrong: must be origins such as/],
  [
    "an origin with a path",
    { ATTUNE__SERVER__CORS_ORIGINS: "https://app.example.org/" },
    /CORS_ORIGINS is wrong: must be origins .*exactly as browsers write them/,
  ],
  [
    "a fault point outside of tests",
    { ATTUNE__TEST__FAULT: "finish.before", NODE_ENV: "production" },
    /ATTUNE__TEST__FAULT .*for tests: unset it/,
  ],
];

describe("a start that its user can fix explains how", () => {
  const older = olderNode();
  if (older === null) console.warn("no Node older than 24 on the PATH: the start by one is not tested");

  // Needs an older Node on the PATH.
  test.skipIf(older === null)("started by an older Node", async () => {
    const failed = await failedStart({ PATH: process.env["PATH"] ?? "" }, older ?? "");
    expectSentence(failed, /^attune needs Node\.js 24 or newer, this is \d+\.\d+\.\d+: .*npm start/);
  });

  test.each(wrongSettings)("a wrong setting: %s", (_name, extra, sentence) => {
    expect(() => readConfig(serverEnvironment(nowhere, extra), false)).toThrow(
      expect.objectContaining({ name: "StartError", message: expect.stringMatching(sentence) }),
    );
  });

  test("a wrong setting, as a process", async () => {
    const failed = await failedStart(serverEnvironment(nowhere, { ATTUNE__SERVER__PORT: "http" }));
    expectSentence(failed, /^ATTUNE__SERVER__PORT is wrong: /);
    expect(existsSync(nowhere.dataDir)).toBe(false);
  });

  // On PostgreSQL the server has no data directory.
  test.skipIf(onPostgres())("a directory of something else, which stays as it was", async () => {
    const dataDir = join(scratch, "documents");
    mkdirSync(dataDir, { mode: 0o755 });
    writeFileSync(join(dataDir, "letter.txt"), "");
    const failed = await failedStart(serverEnvironment({ url: null, dataDir }));
    expectSentence(failed, /^The directory \S+ has files of something else \(letter\.txt\): set ATTUNE__DATA_DIR/);
    expect((statSync(dataDir).mode & 0o777).toString(8)).toBe("755");
    expect(readdirSync(dataDir)).toEqual(["letter.txt"]);
  });

  test("a wrong setting in the file that --settings names, which need not exist", async () => {
    const file = join(scratch, "settings.env");
    const start = async () => {
      const child = spawn(process.execPath, [...serve(), "--settings", file], {
        env: serverEnvironment(nowhere, { ATTUNE__LOG__LEVEL: "loud" }),
        stdio: ["ignore", "pipe", "pipe"],
      });
      const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
      return stdout + stderr;
    };
    expect(await start()).toMatch(/^ATTUNE__LOG__LEVEL is wrong: .*; it is "loud"\.\n$/);
    writeFileSync(file, "ATTUNE__SERVER__HOSTS=https://a\nATTUNE__LOG__LEVEL=info\n");
    expect(await start()).toMatch(/^ATTUNE__SERVER__HOSTS is wrong: .*; it is "https:\/\/a"\.\n$/);
    writeFileSync(file, "ATTUNE__LOG__LEVEL=info\n"); // the environment comes first
    expect(await start()).toMatch(/^ATTUNE__LOG__LEVEL is wrong: .*; it is "loud"\.\n$/);
  });

  test("a broken pack: each fault with file, line and column", async () => {
    const pack = join(scratch, "broken");
    cpSync("packs/core", pack, { recursive: true });
    writeFileSync(join(pack, "actions/noop.yaml"), "ref: core.noop\nlabel: Nothing\nrunner_typ: native\n");
    const refused = startInProcess(nowhere, { ATTUNE__PACKS__DIRS: pack });
    await expect(refused).rejects.toBeInstanceOf(StartError);
    const message = await refused.catch((error: Error) => error.message);
    expect(message).toMatch(/^The pack in .*broken cannot be loaded\. Correct this and start again:\n/);
    expect(message).toMatch(/^ {2}actions\/noop\.yaml:3:1 .*runner_typ.*runner_type/m);
    expect(existsSync(nowhere.dataDir)).toBe(false);
  });

  test("an unreachable database, without showing its password", async () => {
    const url = "postgres://someone:secret@127.0.0.1:1/attune";
    const failed = await failedStart(serverEnvironment({ ...nowhere, url }));
    expectSentence(failed, /^The database at 127\.0\.0\.1:1\/attune cannot be reached \(.*check ATTUNE__DATABASE__URL/);
    expect(failed.stderr).not.toContain("secret");
  });

  // On PostgreSQL a setting names the operator's key.
  test.skipIf(onPostgres())("a damaged key file that the server created", async () => {
    const location = await cloneDatabase();
    writeFileSync(join(location.dataDir, "encryption.key"), "4242\n");
    const failed = await failedStart(serverEnvironment(location, { ATTUNE__SECURITY__ENCRYPTION_KEY: "" }));
    expectSentence(failed, /encryption\.key does not hold 64 hexadecimal digits: restore the file/);
  });

  // Embedded, the server creates a key.
  test.runIf(onPostgres())("PostgreSQL without an encryption key", async () => {
    const env = serverEnvironment(await cloneDatabase(), { ATTUNE__SECURITY__ENCRYPTION_KEY: "" });
    expectSentence(await failedStart(env), /^Secrets need a key: set ATTUNE__SECURITY__ENCRYPTION_KEY/);
  });
});

describe("a running server", () => {
  let server: ServerProcess;

  beforeAll(async () => {
    // Embedded, the server creates a key.
    const extra: Record<string, string> = onPostgres() ? {} : { ATTUNE__SECURITY__ENCRYPTION_KEY: "" };
    server = await startProcess(await cloneDatabase(), extra, sources);
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  test("serves /healthz and /readyz without credentials", async () => {
    for (const [path, status] of [
      ["healthz", "ok"],
      ["readyz", "ready"],
    ]) {
      const response = await fetch(`${server.url}/${path}`);
      expect([response.status, await response.json()]).toEqual([200, { status }]);
    }
  });

  test("refuses a second server on its port", async () => {
    const location = await cloneDatabase("core");
    const env = serverEnvironment(location, { ATTUNE__SERVER__PORT: new URL(server.url).port });
    expectSentence(await failedStart(env), /^Port \d+ on 127\.0\.0\.1 is taken: .*ATTUNE__SERVER__PORT/);
  });

  test("refuses a database that a newer version has migrated", async () => {
    const services = await createServices(await cloneDatabase("core"));
    await services.db.execute(sql`insert into attune_migrations.migration (hash, created_at, name)
      select 'x', max(created_at) + 1, '29991231235959_later' from attune_migrations.migration`);
    await services[Symbol.asyncDispose]();
    expectSentence(
      await failedStart(serverEnvironment(services.location)),
      /^The database belongs to a newer version of Attune \(it has the migration "29991231235959_later"\): .*backup/,
    );
  });

  // On PostgreSQL the server has no data directory.
  test.skipIf(onPostgres())("refuses a second server on its data directory", async () => {
    const failed = await failedStart(serverEnvironment(server.location));
    expectSentence(failed, /^Another attune process is using the data directory .*ATTUNE__DATA_DIR/);
  });

  // On PostgreSQL the server has no data directory.
  test.skipIf(onPostgres())("creates files that only its user can access", () => {
    const mode = (name: string) => (statSync(join(server.location.dataDir, name)).mode & 0o777).toString(8);
    expect(["", "credentials.json", "encryption.key"].map(mode)).toEqual(["700", "600", "600"]);
  });

  test("accepts a sign-in link once", async () => {
    const link = await createLink(server);
    const token = /^\/sign-in#(\S+)$/.exec(link)?.[1] ?? "";
    const first = await signIn(token);
    expect(first.status).toBe(200);
    expect(first.headers.get("set-cookie")).toMatch(
      /^attune_session=\S+; Path=\/; HttpOnly; SameSite=Strict; Max-Age=2592000$/,
    );
    const second = await signIn(token);
    expect(second.status).toBe(401);
    expect(second.headers.get("set-cookie")).toBeNull();
    expect(await second.json()).toEqual({ error: expect.stringContaining("is used, expired or unknown") });
    expect((await signIn("att_signin_guessed")).status).toBe(401);
  });

  test("prints no credential where its output is not a terminal; npm run link does", async () => {
    expect(server.output()).toContain('"npm run link" prints a sign-in link');
    expect(server.output()).not.toContain("att_");
    const printed = await printLink(
      serverEnvironment(server.location, { ATTUNE__SERVER__PORT: new URL(server.url).port }),
    );
    expect(printed.stderr).toBe("");
    const [, origin, token = ""] = /^Sign in .*: (http\S+)\/sign-in#(att_signin_\S+)\n$/.exec(printed.stdout) ?? [];
    expect(origin).toBe(server.url);
    expect((await signIn(token)).status).toBe(200);
  });

  test("accepts a link that was made before its start; without a database there is none", async () => {
    const location = await cloneDatabase("core");
    const { stdout } = await printLink(serverEnvironment(location, { ATTUNE__SERVER__PORT: "4711" }));
    const [, token = ""] = /^Sign in .*: http:\/\/127\.0\.0\.1:4711\/sign-in#(att_signin_\S+)\n$/.exec(stdout) ?? [];
    await using later = await startInProcess(location);
    expect((await signIn(token, later.url)).status).toBe(200);
    const refused = printLink(serverEnvironment(nowhere));
    expect(await refused).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^There is no database at .*\.\n$/),
    });
  });

  test("makes no link for a session, a narrowed token or one that expires", async () => {
    const of = (token: string, method = "POST") =>
      fetch(`${server.url}/sign-in/link`, { method, headers: { authorization: `Bearer ${token}` } });
    const create = async (fields: string) => {
      const { createApiToken } = await request<{ createApiToken: { value: string } }>(
        server,
        `mutation { createApiToken(input: {label: "x" ${fields}}) { ... on CreateApiTokenPayload { value } ... on Error { message } } }`,
      );
      return createApiToken.value;
    };
    expect((await of(await create(""))).status).toBe(200);
    for (const fields of ['permissionSetRefs: ["core.admin"]', 'expiresAt: "2999-01-01T00:00:00Z"']) {
      expect([fields, (await of(await create(fields))).status]).toEqual([fields, 403]);
    }
    const cookie = (await signIn((await createLink(server)).split("#")[1] ?? "")).headers.get("set-cookie") ?? "";
    const session = /attune_session=([^;]+)/.exec(cookie)?.[1] ?? "";
    expect((await of(session)).status).toBe(403);
    expect((await fetch(`${server.url}/sign-in/link`, { method: "POST", headers: { cookie } })).status).toBe(401);
    expect((await of("att_api_guessed")).status).toBe(401);
    expect((await of(server.token, "GET")).status).toBe(405);
  });

  function signIn(token: string, url = server.url): Promise<Response> {
    const headers = { "content-type": "application/json" };
    return fetch(`${url}/sign-in`, { method: "POST", headers, body: JSON.stringify({ token }) });
  }

  test("refuses requests without a credential", async () => {
    await expect(request({ ...server, token: "att_api_guessed" }, viewer)).rejects.toThrow("UNAUTHENTICATED");
    expect(await request(server, viewer)).toEqual({ viewer: { identity: { login: "admin" } } });
  });

  test("exits with 0 within the grace on SIGTERM and ends its executions", async () => {
    const marker = `60.${process.pid}${Date.now()}`; // seconds, with digits that identify the process
    await request(
      server,
      `mutation ($command: String!) { executeAction(input: {action: "core.shell", parameters: {command: $command}}) { __typename } }`,
      { command: `sleep ${marker}` },
    );
    await until(() => processesWith(marker).length > 0, "the action's process");
    const began = Date.now();
    server.child.kill("SIGTERM");
    expect(await server.exited).toBe(0);
    expect(Date.now() - began).toBeLessThan(5000); // the grace is one second
    await until(() => processesWith(marker).length === 0, "the end of the action's process", 1000);
  });

  test("keeps its credentials across restarts; without authentication it warns and admits every request", async () => {
    const kept = () =>
      onPostgres()
        ? null
        : [
            JSON.parse(readFileSync(join(server.location.dataDir, "credentials.json"), "utf8")).token,
            readFileSync(join(server.location.dataDir, "encryption.key"), "utf8"),
          ];
    const before = kept();
    const extra = {
      ATTUNE__SECURITY__ENABLE_AUTH: "false",
      ...(onPostgres() ? {} : { ATTUNE__SECURITY__ENCRYPTION_KEY: "" }),
    };
    await using open = await startProcess(server.location, extra);
    expect(kept()).toEqual(before);
    expect(open.output()).toMatch(/Authentication is off: everyone who reaches this address can do everything\.\n/);
    expect(await request({ ...open, token: "" }, viewer)).toEqual({ viewer: { identity: { login: "admin" } } });
    await expectOtherSitesRefused(open);
  });

  /** A page of another site, open in a browser on this machine, can send forms and open sockets. */
  async function expectOtherSitesRefused({ url }: ServerProcess): Promise<void> {
    const refusal = { errors: [{ extensions: { code: "UNAUTHENTICATED" } }] };
    const form = new URLSearchParams({ query: viewer });
    for (const origin of ["https://elsewhere.example", "null"]) {
      const posted = await fetch(`${url}/graphql`, { method: "POST", headers: { origin }, body: form });
      expect(await posted.json()).toMatchObject(refusal);
    }
    const { port } = new URL(url);
    await expect(overSocketOf(port, "https://elsewhere.example", `127.0.0.1:${port}`)).rejects.toThrow("403");
    // Their name, made to resolve to this machine.
    await expect(overSocketOf(port, "http://elsewhere.example", "elsewhere.example")).rejects.toThrow("421");
    expect(await overSocketOf(port, url, `127.0.0.1:${port}`)).toMatchObject({
      data: { viewer: { identity: { login: "admin" } } },
    });
  }

  function overSocketOf(port: string, origin: string, host: string): Promise<unknown> {
    class Browser extends WebSocket {
      constructor(url: string, protocols: string) {
        super(url, protocols, { origin, headers: { host } });
      }
    }
    const client = createClient({ url: `ws://127.0.0.1:${port}/graphql`, webSocketImpl: Browser, retryAttempts: 0 });
    const result = new Promise((next, error) => {
      client.subscribe({ query: viewer }, { next, error, complete() {} });
    });
    return result.finally(() => client.dispose());
  }
});
