import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { moves } from "../src/execution/states.ts";

/** A part imports parts of a lower rank only, never of its own. ARCHITECTURE.md explains why. */
const ranks: Readonly<Record<string, number>> = {
  "errors.ts": 0,
  "log.ts": 0,
  "metrics.ts": 0,
  "imports.js": 0,
  lib: 1,
  "config.ts": 2,
  "tracing.ts": 2,
  schema: 2,
  "pack-test": 2,
  cli: 2,
  secrecy: 3,
  lang: 4,
  db: 5,
  access: 6,
  "db-admin": 6,
  catalog: 7,
  notifier: 7,
  process: 7,
  execution: 8,
  artifact: 8,
  inquiry: 9,
  policy: 9,
  rule: 9,
  event: 10,
  retention: 10,
  executor: 11,
  worker: 11,
  sensor: 11,
  graphql: 12,
  http: 12,
  roles: 13,
  "services.ts": 13,
  "link.ts": 14,
  author: 14,
  "server.ts": 15,
  "main.ts": 16,
  "attune.js": 17,
};

/** The same within `src/graphql`. Subjects may import one another: objects refer to one another both ways. */
const ranksOfApi: Readonly<Record<string, number>> = { kit: 0, guards: 1, "schema.ts": 3, transport: 4 };
const rankOfSubject = 2;

/** Vocabulary that every part from `access` up may import; it needs only the types of the database. */
const vocabulary = "src/execution/states.ts";

const files = globSync("src/**/*.{ts,js}").map((file) => normalize(file));
const partOf = (file: string) => file.split("/")[1] ?? "";

function imports(file: string): string[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map(([, path]) => join(dirname(file), path ?? ""));
}

describe("the structure of src", () => {
  test("imports point down the ranks", () => {
    const wrong: string[] = [];
    for (const file of files) {
      const part = partOf(file);
      for (const target of imports(file)) {
        const other = partOf(target);
        const [from, to] = [ranks[part], ranks[other]];
        if (part === other) continue;
        if (from === undefined || to === undefined) wrong.push(`${file}: ${part} or ${other} has no rank`);
        else if (to >= from && !(target === vocabulary && from > 5)) wrong.push(`${file} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("the vocabulary of statuses imports only the tables' types", () => {
    expect(imports(vocabulary)).toEqual(["src/db/schema.ts", "src/db/tables/execution.ts"]);
  });

  test("src/graphql holds folders and schema.ts; the kit imports no subject, and no subject imports the transport", () => {
    const api = files.filter((file) => partOf(file) === "graphql");
    const placeOf = (file: string) => file.split("/")[2] ?? "";
    const rankOf = (file: string) => ranksOfApi[placeOf(file)] ?? rankOfSubject;
    expect(api.filter((file) => file.split("/").length === 3)).toEqual(["src/graphql/schema.ts"]);
    const wrong = api.flatMap((file) =>
      imports(file)
        .filter((target) => partOf(target) === "graphql" && placeOf(target) !== placeOf(file))
        .filter((target) => rankOf(target) > rankOf(file) || (rankOf(target) === rankOf(file) && rankOf(file) !== 2))
        .map((target) => `${file} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test("verbs open no transaction of their own, unless a comment says why", () => {
    const verbs = /^src\/(access|catalog|execution|artifact|inquiry|rule|event|retention)\//;
    const silent = files
      .filter((file) => verbs.test(file))
      .flatMap((file) => {
        const lines = readFileSync(file, "utf8").split("\n");
        return lines.flatMap((line, index) =>
          /(?<!\.)\bwrite\(services|\bdb\.transaction\(/.test(line) &&
          !/^ *\/\/ A transaction of its own: ./.test(lines[index - 1] ?? "")
            ? [`${file}:${index + 1}`]
            : [],
        );
      });
    expect(silent).toEqual([]);
  });

  test("no TypeScript file is longer than 300 lines", () => {
    const long = files
      .map((file) => ({ file, lines: readFileSync(file, "utf8").split("\n").length }))
      .filter(({ lines }) => lines > 300);
    expect(long).toEqual([]);
  });

  test("files import one another by their names, without index files", () => {
    expect(files.filter((file) => /(^|\/)index\.ts$/.test(file))).toEqual([]);
  });

  test("only main.ts reads the process's environment", () => {
    const readers = files.filter((file) => readFileSync(file, "utf8").includes("process.env"));
    expect(readers.sort()).toEqual(["src/main.ts"]);
  });
});

describe("execution statuses", () => {
  const status = `["'](?:${Object.keys(moves).join("|")})["']`;
  const compared = "\\s*(?:[!=]=+|=|<>)\\s*";
  /** A list or a union; one value compared with several statuses, with no comma or `where` between; a switch. */
  const patterns = [
    `${status}\\s*[,|]\\s*${status}`,
    `([\\w.]+)${compared}(${status})(?:(?!\\bwhere\\b)[^;,{}]){0,200}?(?<![\\w.])\\1${compared}(?!\\2)${status}`,
    `case ${status}:[^}]*case ${status}:`,
  ].map((pattern) => new RegExp(pattern, "g"));
  const listsIn = (code: string) => patterns.flatMap((pattern) => [...code.matchAll(pattern)].map(([text]) => text));

  test.each([
    `["failed", "timeout"]`,
    `"completed" | "failed"`,
    "status in ('running',\n  'canceling')",
    `status === "running" || status === "canceling"`,
    "e.status = 'canceling' or e.status = 'running' and r.status <> 'cancelled'",
    `switch (status) {\n  case "failed":\n  case "timeout":\n}`,
  ])("are found listed in: %s", (code) => {
    expect(listsIn(code)).toHaveLength(1);
  });

  test.each([
    `status === "running"`,
    "set status = 'canceling' where status = 'running' and r.status = 'cancelled'",
    "a = case when s.becomes = 'scheduled' then 1 end, b = case when s.becomes = 'abandoned' then 2 end",
  ])("are not found listed in: %s", (code) => {
    expect(listsIn(code)).toEqual([]);
  });

  test("are listed only in states.ts", () => {
    const allowed = [vocabulary, "src/db/schema.ts"]; // the other holds the enum itself
    const found = files
      .filter((file) => !allowed.includes(file))
      .flatMap((file) => listsIn(readFileSync(file, "utf8")).map((text) => `${file}: ${text}`));
    expect(found).toEqual([]);
    expect(listsIn(readFileSync(vocabulary, "utf8")).length).toBeGreaterThan(5);
  });
});
