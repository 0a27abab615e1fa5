import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { settings } from "../src/config.ts";
import { firstStatuses, isTerminal, moves } from "../src/execution/states.ts";
import { examples } from "../src/graphql/transport/graphiql-examples.ts";
import { listed } from "../vitest.config.ts";
import { overEvents } from "./support/client.ts";
import { onPostgres } from "./support/database.ts";
import { request, type ServerProcess, startInProcess, startProcess } from "./support/server.ts";
import { until } from "./support/until.ts";

const documents = [
  "README.md",
  "ARCHITECTURE.md",
  "tests/README.md",
  "docs/api.md",
  "docs/cli.md",
  "docs/deletes.md",
  "docs/model.md",
  "packs/core/README.md",
];
const read = (file: string) => readFileSync(file, "utf8");
const readme = read("README.md");

/** A fenced block: the text after its language, and its content. */
interface Block {
  info: string;
  text: string;
}

function blocksOf(text: string): Block[] {
  return [...text.matchAll(/^```\w+ ?(.*)\n([\s\S]*?)^```$/gm)].map(([, info = "", body = ""]) => ({
    info,
    text: body,
  }));
}

/** The rows of the table with that head, each a list of its cells. */
function rowsOf(text: string, head: string): string[][] {
  const [, after = ""] = text.split(`${head}\n`);
  const lines = after.split("\n");
  const body = lines.slice(
    1,
    lines.findIndex((line) => !line.startsWith("|")),
  );
  return body.map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
}

const unquoted = (cell: string) => cell.replaceAll("`", "");

/** Masks what differs between servers, runs and machines. Pings appear when the machine is slow. */
function masked(text: string): string {
  return text
    .replace(/^:\n\n/gm, "")
    .replace(/http:\/\/127\.0\.0\.1:\d+/g, "<address>")
    .replace(/att_signin_[\w-]{43}/g, "<token>")
    .replace(/"id":"[A-Za-z0-9+/=]+"/g, '"id":"<id>"')
    .replace(/"event":"RXZlbnQ6[^"]+"/g, '"event":"<id>"')
    .replace(/\b[0-9a-f]{12}\.\d+\b/g, "<cursor>")
    .replace(/\/webhooks\/[\w-]{43}/g, "/webhooks/<key>")
    .replace(/"duration_ms":\d+/g, '"duration_ms":<ms>');
}

/** A terminal: a shell that ends at the first command that fails. */
interface Terminal {
  child: ChildProcess;
  /** Runs a block to its end and returns its output. */
  run(block: string): Promise<string>;
  /** Starts a block that runs until the terminal is closed. */
  begin(block: string): void;
  output(): string;
}

function openTerminal(dataDir: string): Terminal {
  const env = { PATH: process.env["PATH"] ?? "", ATTUNE__DATA_DIR: dataDir };
  const child = spawn("sh", ["-e"], { env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      output += text;
    });
  }
  let blocks = 0;
  return {
    child,
    output: () => output,
    begin: (block) => child.stdin.write(block),
    run: async (block) => {
      blocks += 1;
      const end = `[end of block ${blocks}]\n`;
      const from = output.length;
      child.stdin.write(`${block}printf '%s\\n' '${end.trim()}'\n`);
      await until(() => output.includes(end) || child.exitCode !== null, `the end of this block: ${block}`, 20_000);
      if (!output.includes(end)) throw new Error(`the block failed:\n${block}\nit printed:\n${output.slice(from)}`);
      return output.slice(from, output.indexOf(end));
    },
  };
}

function close({ child }: Terminal): void {
  if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL");
}

describe("the README's tour", () => {
  let server: ServerProcess;
  const terminals: Terminal[] = [];
  beforeAll(async () => {
    server = await startProcess(undefined, {}, "src/attune.js"); // as in a checkout
    if (!onPostgres()) return;
    // Only the embedded server writes its credentials for its neighbours; the tour is the same.
    mkdirSync(server.location.dataDir, { recursive: true });
    writeFileSync(
      join(server.location.dataDir, "credentials.json"),
      JSON.stringify({ url: server.url, token: server.token }),
    );
  });
  afterAll(async () => {
    for (const terminal of terminals) close(terminal);
    await server[Symbol.asyncDispose]();
  });

  test("begins with what the server prints on a terminal", async () => {
    const [greeting] = blocksOf(readme).filter(({ info }) => info === "greeting");
    await using onTerminal = await startInProcess(undefined, {}, true);
    expect(masked(onTerminal.output())).toBe(masked(greeting?.text ?? ""));
  });

  test("prints what the README shows", async () => {
    const tour = blocksOf(readme).filter(({ info }) => /^(tour|output)\b/.test(info));
    const [setup = { info: "", text: "" }] = tour;
    const [first, second] = [openTerminal(server.location.dataDir), openTerminal(server.location.dataDir)];
    terminals.push(first, second);
    await second.run(setup.text);
    let printed = "";
    const compared: string[] = [];
    for (const { info, text } of tour) {
      switch (info) {
        case "tour":
          // A block without an output in the README must print nothing.
          expect(printed).toBe("");
          printed = await first.run(text);
          break;
        case "output":
          expect(masked(`${printed.trimEnd()}\n`)).toBe(masked(text));
          compared.push(printed);
          printed = "";
          break;
        case "tour second terminal": {
          const before = second.output().length;
          second.begin(text);
          await until(() => second.output().slice(before).includes("\n:\n"), "the stream to open");
          break;
        }
        case "output second terminal": {
          const shown = () => second.output().slice(second.output().indexOf("id: "));
          const same = () => masked(shown()).trim() === masked(text).trim();
          await until(() => same() || masked(shown()).length > masked(text).length, "the statuses", 20_000);
          expect(masked(shown()).trim()).toBe(masked(text).trim());
          compared.push(shown());
          break;
        }
        default:
          throw new Error(`the README has a block of an unknown kind: ${info}`);
      }
    }
    expect(printed).toBe("");
    expect(compared).toHaveLength(6);
  });

  test("leads to GraphiQL's operations, which all run", async () => {
    expect(examples).toHaveLength(5);
    expect(readme).toContain("five operations");
    for (const { name, query, variables } of examples) {
      if (query.includes("\nsubscription ")) continue;
      const data = await request<Record<string, { __typename?: string } | null>>(server, query, { ...variables });
      for (const result of Object.values(data)) {
        expect(result, name).not.toBeNull();
        if (result?.__typename) expect(result.__typename, name).toMatch(/Payload$/);
      }
    }
    const [live, ...others] = examples.filter(({ query }) => query.includes("\nsubscription "));
    expect(others).toEqual([]);
    const stream = overEvents(server, { query: live?.query ?? "" });
    const start = examples.find(({ name }) => name === "ExecuteAction");
    // A subscription delivers only later changes: run it again until the stream is open.
    await until(async () => {
      await request(server, start?.query ?? "", { ...start?.variables });
      return stream.seen.length > 0 || stream.error() !== null;
    }, "a message of the subscription");
    expect(stream.error()).toBeNull();
    expect(stream.seen[0]).toMatchObject({ actionRef: "core.echo", cursor: expect.any(String) });
    stream.drop();
  });
});

describe("the README", () => {
  test("lists every setting with its default", () => {
    const listed = rowsOf(readme, "| variable | default | meaning |").map(([name = "", preset = "", meaning = ""]) => {
      expect(meaning, name).not.toBe("");
      return [unquoted(name), preset === "–" ? "" : unquoted(preset)];
    });
    const coded = Object.entries(settings).map(([name, schema]) => {
      const { data } = schema.safeParse(undefined);
      return [name, data === undefined ? "" : String(data)];
    });
    expect(listed).toEqual([...coded, ["DATABASE_URL", ""]]);
  });

  test("names every npm script", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const listed = rowsOf(readme, "| command | does |").map(([command = ""]) => unquoted(command));
    const ownOfNpm = ["dependencies", "prepack"]; // npm runs these itself
    const called = Object.keys(scripts).filter((name) => !ownOfNpm.includes(name));
    expect(listed.map((command) => command.replace(/^npm (run )?/, "")).sort()).toEqual(called.sort());
  });

  test("uses actions that the core pack has, and the core pack's own README describes them all", () => {
    const described = rowsOf(read("packs/core/README.md"), "| action | does | runs as |");
    const names = described.map(([name = ""]) => unquoted(name));
    const files = readdirSync("packs/core/actions").filter((file) => file.endsWith(".yaml"));
    expect(names.sort()).toEqual(files.map((file) => `core.${file.replace(".yaml", "")}`).sort());
    const used = [...readme.matchAll(/action: "(core\.\w+)"/g)].map(([, name = ""]) => name);
    expect(used.length).toBeGreaterThan(1);
    expect(used.filter((name) => !names.includes(name))).toEqual([]);
  });
});

describe("the suites", () => {
  test("have only files that exist", () => {
    for (const pattern of Object.values(listed).flat()) expect(globSync(pattern), pattern).not.toEqual([]);
  });

  test("run every test: none of `long`, which .ci/run runs on PostgreSQL, needs the embedded database", () => {
    for (const file of globSync(listed.long)) expect(read(file), file).not.toMatch(/skipIf\(onPostgres\(\)\)/);
  });
});

describe("the documents", () => {
  test.each(documents)("%s names only scripts and files that exist", (file) => {
    const text = read(file);
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const named = [...text.matchAll(/npm (?:run ([\w:]+)|(test|start)\b)/g)].map(
      ([, run, short]) => run ?? short ?? "",
    );
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
    const linked = [...text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => join(file, "..", path ?? ""));
    const quoted = [...text.matchAll(/`((?:src|tests|docs|bench|packs|drizzle)\/[\w./-]+)`/g)].map(
      ([, path]) => path ?? "",
    );
    expect([...linked, ...quoted].filter((path) => !existsSync(path))).toEqual([]);
  });

  test("docs/model.md names tests that exist", () => {
    const named = [...read("docs/model.md").matchAll(/`(tests\/[\w/.-]+\.test\.ts) › ([^`]+)`/g)];
    const missing = named.filter(([, file = "", title = ""]) => {
      const source = existsSync(file) ? read(file) : "";
      const forms = [`"${title}"`, `\`${title}\``, `"${title.replaceAll('"', '\\"')}"`, `'${title}'`];
      return !forms.some((form) => source.includes(`(${form}`) || source.includes(`  ${form},`));
    });
    expect(missing.map(([whole]) => whole)).toEqual([]);
    expect(named.length).toBeGreaterThan(200);
    // Every row says whether it holds, and which test shows it.
    const rows = read("docs/model.md").match(/^\| (?!statement).*$/gm) ?? [];
    expect(rows.filter((row) => !/^\| .+\. \| \S.* \| `tests\/.*` \|$/.test(row))).toEqual([]);
  });

  test("ARCHITECTURE.md draws the status transitions of the code", () => {
    const drawn = [...read("ARCHITECTURE.md").matchAll(/^ +(\S+) --> (\S+)$/gm)].map(([, from, to]) => `${from} ${to}`);
    const statuses = Object.keys(moves) as (keyof typeof moves)[];
    const coded = [
      ...firstStatuses.map((status) => `[*] ${status}`),
      ...statuses.flatMap((from) => moves[from].map((to) => `${from} ${to}`)),
      ...statuses.filter(isTerminal).map((status) => `${status} [*]`),
    ];
    expect(drawn.sort()).toEqual(coded.sort());
  });

  test("ARCHITECTURE.md ranks the parts of src as the architecture test does", () => {
    const listed = rowsOf(read("ARCHITECTURE.md"), "| rank | parts | what they are |").flatMap(
      ([rank = "", parts = ""]) => [...parts.matchAll(/`([^`]+)`/g)].map(([, part]) => `${part} ${rank}`),
    );
    const [, ranks = ""] = /const ranks[^{]*\{([^}]*)\}/.exec(read("tests/architecture.test.ts")) ?? [];
    const held = [...ranks.matchAll(/"?([\w.-]+)"?: (\d+)/g)].map(([, part, rank]) => `${part} ${rank}`);
    expect(held.length).toBeGreaterThan(10);
    expect(listed.sort()).toEqual(held.sort());
  });

  test("ARCHITECTURE.md lists the fault points of the code", () => {
    const sources = readdirSync("src", { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => `src/${file}`);
    const coded = sources.flatMap((file) => [...read(file).matchAll(/faultPoint\("([^"]+)"/g)].map(([, name]) => name));
    const listed = rowsOf(read("ARCHITECTURE.md"), "| fault point | where |").map(([name = ""]) => unquoted(name));
    expect(listed.sort()).toEqual(coded.sort());
  });

  test("tests/README.md gives a reason for each test that does not run everywhere", () => {
    const listed = rowsOf(read("tests/README.md"), "| test | runs | because |").map(([name]) => name);
    const conditional = globSync("tests/**/*.test.ts").flatMap((file) =>
      [...read(file).matchAll(/\.(?:runIf|skipIf)\(.*\)\("([^"]+)"/g)].map(([, name]) => name),
    );
    expect(conditional.length).toBeGreaterThan(3);
    expect(listed.sort()).toEqual(conditional.sort());
  });
});
