import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";

/** Who may import whom: a part imports parts of a lower rank only, never one beside it. ARCHITECTURE.md says why. */
const ranks: Readonly<Record<string, number>> = {
  "errors.ts": 0,
  "log.ts": 0,
  "imports.js": 0,
  lib: 1,
  "config.ts": 1,
  schema: 2,
  secrecy: 3,
  lang: 4,
  db: 5,
  access: 6,
  catalog: 7,
  notifier: 7,
  execution: 8,
  artifact: 8,
  inquiry: 9,
  rule: 9,
  event: 10,
  executor: 11,
  worker: 11,
  sensor: 11,
  graphql: 12,
  http: 12,
  roles: 13,
  "services.ts": 13,
  "server.ts": 14,
  "main.ts": 15,
  "attune.js": 16,
};

/** The same within `src/graphql`. Subjects may import one another: objects refer to one another both ways. */
const ranksOfApi: Readonly<Record<string, number>> = { kit: 0, guards: 1, "schema.ts": 3, transport: 4 };
const rankOfSubject = 2;

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
        else if (to >= from) wrong.push(`${file} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("src/graphql holds folders and schema.ts; the kit knows no subject, and no subject the transport", () => {
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

  test("no TypeScript file is longer than 300 lines", () => {
    const long = files
      .map((file) => ({ file, lines: readFileSync(file, "utf8").split("\n").length }))
      .filter(({ lines }) => lines > 300);
    expect(long).toEqual([]);
  });

  test("files import one another by their names, without index files", () => {
    expect(files.filter((file) => /(^|\/)index\.ts$/.test(file))).toEqual([]);
  });

  test("only config.ts and main.ts see the process's environment", () => {
    const readers = files.filter((file) => readFileSync(file, "utf8").includes("process.env"));
    expect(readers.sort()).toEqual(["src/main.ts"]);
  });
});
