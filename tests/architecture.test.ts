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
  db: 1,
  access: 2,
  catalog: 2,
  notifier: 2,
  execution: 3,
  event: 4,
  executor: 5,
  worker: 5,
  sensor: 5,
  graphql: 6,
  http: 6,
  "server.ts": 7,
  "main.ts": 7,
  "attune.js": 7,
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
        else if (from === 7 && to === 7) continue;
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
