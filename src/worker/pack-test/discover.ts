import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { extname, join, posix } from "node:path";
import type { Testing } from "../../catalog/testing.ts";

/** The reason why a runner cannot be started, for the pack's author. */
export class PlanError extends Error {}

/** A runner as the pack's manifest has it. */
export type Runner = Testing["runners"][string];

/** What is a test in a directory. */
const folderTests: Partial<Record<Runner["type"], string>> = {
  node: "**/*.{test,spec}.{js,mjs,cjs,ts,mts,cts}",
  jest: "**/{*.{test,spec}.{js,jsx,mjs,cjs,ts,tsx,mts,cts},__tests__/**/*.{js,jsx,mjs,cjs,ts,tsx,mts,cts}}",
};

/**
 * Returns the files that a runner tests, and for unittest and pytest also directories. `paths` are all files of the pack. Throws PlanError
 * when there is none.
 */
export function entriesOf({ type, entry_point }: Runner, paths: ReadonlySet<string>): string[] {
  const entry = posix.normalize(entry_point).replace(/\/$/, "");
  if (paths.has(entry)) return [entry];
  const isFolder = paths.values().some((path) => entry === "." || path.startsWith(`${entry}/`));
  if (isFolder && (type === "unittest" || type === "pytest")) return [entry];
  const pattern = posix.join(entry, (isFolder && folderTests[type]) || "");
  const found = [...paths].filter((path) => posix.matchesGlob(path, pattern)).sort();
  if (found.length === 0) throw new PlanError(`No file of the pack matches "${pattern}".`);
  return found;
}

/**
 * Reads which files each runner tests from lines such as `python tests/test_one.py`; `#` begins a comment. Throws PlanError for a line that
 * names no runner or no file of the pack.
 */
export function readPlan(
  text: string,
  runners: Testing["runners"],
  paths: ReadonlySet<string>,
): ReadonlyMap<string, string[]> {
  const plan = new Map<string, string[]>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const [name = "", ...rest] = line
      .replace(/^#.*| #.*/, "")
      .trim()
      .split(/\s+/);
    if (name === "") continue;
    const path = posix.normalize(rest.join(" "));
    const place = `Line ${index + 1} of the list of tests`;
    if (!Object.hasOwn(runners, name)) {
      throw new PlanError(
        `${place} names the runner "${name}", but the runners are ${Object.keys(runners).join(", ")}.`,
      );
    }
    if (!paths.has(path)) throw new PlanError(`${place} names "${path}", which is no file of the pack.`);
    plan.set(name, [...(plan.get(name) ?? []), path]);
  }
  if (plan.size === 0) throw new PlanError("The list of tests is empty.");
  return plan;
}

/** What a script is run by: the ref of a runtime, or null: by the system, because it is executable and names its interpreter itself. */
export async function runtimeOfScript(directory: string, path: string): Promise<string | null> {
  const known = byExtension[extname(path)];
  if (known) return known;
  const file = join(directory, path);
  const [first = ""] = (await readFile(file, "latin1")).split("\n", 1);
  if (/^#!.*\bbash\b/.test(first)) return "core.action.bash";
  if (extname(path) === ".sh" || !first.startsWith("#!")) return "core.action.shell";
  const isExecutable = await access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
  return isExecutable ? null : "core.action.shell";
}

const byExtension: Readonly<Record<string, string>> = {
  ".py": "core.action.python",
  ".js": "core.action.nodejs",
  ".mjs": "core.action.nodejs",
  ".cjs": "core.action.nodejs",
  ".ts": "core.action.nodejs",
  ".mts": "core.action.nodejs",
  ".bash": "core.action.bash",
};
