import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { extraOf } from "../../src/cli/define.ts";
import { commandsOf, describedProgram, startCommand } from "../support/cli.ts";
import { createLink, type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { execute, mutate, password, seed, typeOf } from "./seed.ts";

const scratch = mkdtempSync(join(tmpdir(), "attune-cli-"));
let server: RunningServer;
let index: Server;
let ids: Record<string, string>;
const files: Record<string, string> = {
  "password.txt": `${password}\n`,
  "params.yaml": "message: from a file\n",
  "payload.json": '{"name": "world"}',
  "secret.txt": "the secret of a webhook\n",
  "webhook.yaml": "hmac: {scheme: META, secret: the app secret}\nverifyToken: what Meta knows\n",
  "rule.yaml": "trigger_ref: default.hello\naction_ref: core.echo\naction_params: {message: hello}\n",
  "response.json": '{"approved": false}',
};

beforeAll(async () => {
  await startCommand(["pack", "create", "visits", join(scratch, "visits")]).ended;
  const entry = { ref: "greetings", label: "Greetings", version: "1.0.0", description: "An HTTP client." };
  const git = { type: "git", url: "https://example.org/greetings.git", ref: "v1" };
  index = createServer((_request, response) =>
    response.end(JSON.stringify({ packs: [{ ...entry, install_sources: [git] }] })),
  );
  await new Promise<void>((resolve) => index.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(index.address() as AddressInfo).port}`;
  server = await startInProcess(undefined, {
    ATTUNE__PACKS__DIRS: join(scratch, "visits"),
    ATTUNE__PACKS__SOURCES: origin,
    ATTUNE__PACKS__INDEXES: `${origin}/index.json`,
  });
  ids = await seed(server);
  files["token.txt"] = `${server.token}\n`;
  for (const [name, content] of Object.entries(files)) writeFileSync(join(scratch, name), content);
});
afterAll(async () => {
  index.close();
  await server[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true });
});

/** Splits a line as a shell does: words in quotes are one. */
const wordsOf = (line: string) =>
  [...line.matchAll(/(?:[^\s']|'[^']*')+/g)].map(([word]) => word.replaceAll(/'([^']*)'/g, "$1"));

/** Returns what stands for a word of an example: an id, an address, a link or a file of this test. */
async function replaced(word: string, path: string): Promise<string> {
  if (word in files || word === "july.csv") return join(scratch, word);
  if (word.includes("/sign-in#")) return `${server.url}${await createLink(server)}`;
  if (word === "http://127.0.0.1:8080") return server.url;
  if (word === "./packs/greetings" && path === "pack create") return join(scratch, "greetings");
  if (word === "./packs/greetings") return await newPack();
  if (word === "./packs/visits") return join(scratch, "visits");
  if (word === "./stackstorm-greetings") return newStackStormPack();
  if (word === "./packs/imported") return join(scratch, "imported");
  if (word === "./archives") return newArchives();
  if (word === "unneeded") {
    await mutate(server, "createPack", { ref: word }, "__typename");
    return word;
  }
  const type = typeOf(word);
  if (type === "") return word;
  if (path === "execution cancel") return await execute(server, "core.sleep", { seconds: 60 });
  if (path === "inquiry respond") {
    return await until(async () => {
      const where = `where: { status: { eq: PENDING } }`;
      const { inquiries } = await request<{ inquiries: { nodes: { id: string }[] } }>(
        server,
        `{ inquiries(first: 1, ${where}) { nodes { id } } }`,
      );
      return inquiries.nodes[0]?.id;
    }, "an inquiry");
  }
  if (path === "auth token revoke") {
    const selection = "apiToken { id }";
    const made = await mutate<{ apiToken: { id: string } }>(server, "createApiToken", { label: "x" }, selection);
    return made.apiToken.id;
  }
  const id = ids[type];
  if (id === undefined) throw new Error(`the test has no ${type}`);
  return id;
}

/** Returns the directory of a new pack. */
async function newPack(): Promise<string> {
  const directory = join(scratch, "installed");
  if (!existsSync(directory)) await startCommand(["pack", "create", "greetings", directory]).ended;
  return directory;
}

/** Returns a directory with the archive of a pack. */
function newArchives(): string {
  const directory = mkdtempSync(join(scratch, "archives-"));
  execFileSync("tar", ["-czf", join(directory, "visits.tar.gz"), "-C", join(scratch, "visits"), "."]);
  return directory;
}

/** Returns the directory of a pack in StackStorm's layout. */
function newStackStormPack(): string {
  const directory = join(scratch, "stackstorm");
  mkdirSync(join(directory, "actions"), { recursive: true });
  writeFileSync(join(directory, "pack.yaml"), "ref: imported\nname: imported\nversion: 1.0.0\n");
  writeFileSync(join(directory, "actions/nothing.yaml"), "name: nothing\nrunner_type: noop\n");
  return directory;
}

const commands = commandsOf(describedProgram()).map((one) => ({ ...one, name: one.path.join(" ") }));
const cases = commands.flatMap(({ command, path }) =>
  extraOf(command).examples.map((example) => ({ example, path: path.join(" ") })),
);
/** These start a server or need its database: `tests/start` and `tests/db-admin` run them. */
const needsServer = (path: string) => !/^(serve|link|db)\b/.test(path);

describe("the help", () => {
  test.each(commands)("of attune $name has an example that calls it", ({ command, path }) => {
    const { examples } = extraOf(command);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) expect(example.startsWith(path.join(" ")), example).toBe(true);
    expect(command.description()).not.toBe("");
  });
});

describe("the example", () => {
  test.each(cases.filter(({ path }) => needsServer(path)))("attune $example", async ({ example, path }) => {
    const [line = "", input] = example.split(" < ");
    const args = await Promise.all(wordsOf(line).map((word) => replaced(word, path)));
    const env = { XDG_CONFIG_HOME: scratch };
    const command = startCommand(args, { server, env, ...(input ? { stdin: files[input] ?? "" } : {}) });
    if (path.endsWith(" watch")) {
      await until(async () => {
        await cause(path);
        return command.stdout() !== "";
      }, "a message");
      command.interrupt();
    }
    const { code, stdout, stderr } = await command.ended;
    expect({ code, stderr }, stdout).toEqual({ code: path.endsWith(" watch") ? 130 : 0, stderr: expect.any(String) });
    expect(stdout + stderr).not.toBe("");
    if (args.includes("json")) expect(() => JSON.parse(stdout)).not.toThrow();
  });
});

/** Changes something of the kind that a command watches. */
async function cause(path: string): Promise<void> {
  const [resource = ""] = path.split(" ");
  const change = (name: string, input: object) => mutate(server, name, input, "__typename");
  const causes: Record<string, () => Promise<unknown>> = {
    execution: () => execute(server, "core.echo", { message: "x" }),
    event: () => change("createEvent", { trigger: "default.hello", payload: { name: "x" } }),
    enforcement: () => change("createEvent", { trigger: "default.hello", payload: { name: "x" } }),
    inquiry: () => execute(server, "core.inquire", { prompt: "Well?" }),
    worker: async () => {
      await change("cordonWorker", { id: ids["Worker"] });
      await change("uncordonWorker", { id: ids["Worker"] });
    },
    pack: () => change("updatePack", { ref: "default", description: String(Math.random()) }),
    policy: async () => {
      await change("disablePolicy", { ref: "default.calm" });
      await change("enablePolicy", { ref: "default.calm" });
    },
  };
  await causes[resource]?.();
}
