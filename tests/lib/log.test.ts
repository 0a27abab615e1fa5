import { execFileSync } from "node:child_process";
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "rolldown";
import { expect, test } from "vitest";
import { readConfig } from "../../src/config.ts";
import { createLog } from "../../src/log.ts";

/** Returns a log of that level, and what it has written. */
function openLog(level: string) {
  const lines: string[] = [];
  const { log: settings } = readConfig({ ATTUNE__LOG__LEVEL: level }, false);
  const log = createLog(settings, { write: (line) => void lines.push(line) });
  return { log, read: () => lines.map((line) => JSON.parse(line)) };
}

test("the log has the entries of its level and above", () => {
  const written = (level: string) => {
    const { log, read } = openLog(level);
    for (const each of ["trace", "debug", "info", "warn"] as const) log[each](each);
    return read().map(({ msg }) => msg);
  };
  expect(written("debug")).toEqual(["debug", "info", "warn"]);
  expect(written("warn")).toEqual(["warn"]);
});

test("an error of the bundle is logged with its place in the sources", async () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "attune-bundle-")));
  try {
    const source = "interface Wide { a: 1 }\n\nexport function fail(): never {\n  throw new Error('on purpose');\n}\n";
    writeFileSync(join(directory, "failing.ts"), source);
    const output = { dir: join(directory, "dist"), sourcemap: true, entryFileNames: "bundle.js" };
    await build({ input: join(directory, "failing.ts"), logLevel: "warn", output });
    const bundle = pathToFileURL(join(directory, "dist/bundle.js")).href;
    // Vitest has Node.js translate the stacks of its own process.
    const program = `import("${bundle}").then(({ fail }) => fail()).catch(({ stack }) => console.log(stack))`;
    const stack = execFileSync(process.execPath, ["-e", program], { encoding: "utf8", env: {} });
    expect(stack).toContain(`at fail (${bundle}:`);
    const { log, read } = openLog("info");
    const report = (text: string) => log.error({ err: Object.assign(new Error("on purpose"), { stack: text }) });
    report(stack);
    rmSync(join(directory, "dist/bundle.js.map"));
    report(stack);
    report(`Error: unknown\n    at fail (${bundle}:1:99)`);
    const [first, second, unknown] = read().map(({ err }) => err.stack);
    expect(first).toContain(`at fail (${join(directory, "failing.ts")}:4:9)`);
    expect(second, "the place is known").toBe(first);
    expect(unknown).toContain(`${bundle}:1:99`);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
