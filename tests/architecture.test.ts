import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";

/** Who may import whom: a part imports parts of a lower rank only, never one beside it. ARCHITECTURE.md says why. */
const ranks: Readonly<Record<string, number>> = {
  lib: 0,
  lang: 0,
  "errors.ts": 0,
  "config.ts": 0,
  "log.ts": 0,
  "imports.js": 0,
  db: 1,
  access: 2,
  catalog: 3,
  notifier: 3,
  execution: 4,
  artifact: 4,
  event: 5,
  inquiry: 5,
  executor: 6,
  worker: 6,
  sensor: 6,
  graphql: 7,
  http: 7,
  "server.ts": 8,
  "main.ts": 8,
  "attune.js": 8,
};

/** Rank 0 knows nothing of ours but its own small words. */
const withinRankZero = new Set(["lang>errors.ts", "lang>lib", "config.ts>errors.ts"]);

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
        else if (from === 8 && to === 8) continue;
        else if (to >= from && !withinRankZero.has(`${part}>${other}`)) wrong.push(`${file} imports ${target}`);
      }
    }
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
