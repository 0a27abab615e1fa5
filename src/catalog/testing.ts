import { posix } from "node:path";
import { z } from "zod";
import type { Issue } from "../errors.ts";

const timeout = z
  .int()
  .positive()
  .max(24 * 60 * 60);

/** A path of the pack, relative to its directory. */
const inside = z
  .string()
  .min(1)
  .max(500)
  .refine((path) => !posix.isAbsolute(path) && !path.split("/").includes("..") && !path.includes("\\"), {
    message: 'expected a path within the pack such as "tests/run.sh": relative, with /, without ".."',
  });

/** The formats that a program of each type writes, the default first. A script writes what its author chooses. */
const formats = {
  script: ["simple", "junit-xml", "tap", "json"],
  unittest: ["simple"],
  pytest: ["simple", "junit-xml"],
  node: ["tap", "junit-xml"],
  jest: ["json"],
} as const;

const runner = z
  .strictObject({
    type: z.enum(["script", "unittest", "pytest", "node", "jest"]),
    entry_point: inside,
    timeout: timeout.default(300),
    result_format: z.enum(["simple", "junit-xml", "tap", "json"]).optional(),
  })
  .superRefine(({ type, result_format }, context) => {
    const known: readonly string[] = formats[type];
    if (result_format === undefined || known.includes(result_format)) return;
    context.addIssue({
      code: "custom",
      path: ["result_format"],
      message: `expected ${known.join(" or ")}: a runner of the type ${type} writes no ${result_format}`,
    });
  })
  .transform((fields) => ({ ...fields, result_format: fields.result_format ?? formats[fields.type][0] }));

const runnerName = z
  .string()
  .max(100)
  .regex(/^[a-z][a-z0-9_-]*$/, "expected a name of a-z, 0-9, _ and - that begins with a letter");

/**
 * How a pack is tested: by each of its runners. `timeout` is seconds. An entry point is a file, a directory or a pattern of paths; where
 * `discovery` is a manifest or an executable, the file, or what the program prints, lists the tests of each runner instead. Results are
 * read from the standard output, or from the files that a script writes to `result_path`.
 */
export const testing = z
  .strictObject({
    enabled: z.boolean().default(true),
    discovery: z
      .strictObject({ method: z.enum(["directory", "manifest", "executable"]).default("directory"), path: inside })
      .default({ method: "directory", path: "tests" }),
    runners: z
      .record(runnerName, runner)
      .refine((runners) => Object.keys(runners).length <= 20, { message: "expected at most 20 runners" })
      .default({}),
    result_path: inside.optional(),
    min_pass_rate: z.number().min(0).max(1).default(1),
    on_failure: z.enum(["block", "warn", "ignore"]).default("block"),
  })
  .refine(({ enabled, runners }) => !enabled || Object.keys(runners).length > 0, {
    path: ["runners"],
    message: "expected at least one runner, or enabled: false",
  });

/** How a pack is tested, as its manifest has it with its defaults. */
export type Testing = z.output<typeof testing>;

/** Returns a fault for each path that names no file of the pack. What is disabled may name files that do not exist yet. */
export function testingFaults(
  { enabled, discovery, runners }: Testing,
  paths: ReadonlySet<string>,
  issueAt: (path: readonly PropertyKey[], message: string) => Issue,
): Issue[] {
  if (!enabled) return [];
  const folders = foldersOf(paths);
  const issues: Issue[] = [];
  const found = posix.normalize(discovery.path).replace(/\/$/, "");
  const isFolder = discovery.method === "directory";
  if (!(isFolder ? folders : paths).has(found)) {
    const kind = isFolder ? "directory" : "file";
    issues.push(issueAt(["testing", "discovery", "path"], `the pack has no ${kind} "${discovery.path}"`));
  }
  for (const [name, { type, entry_point }] of Object.entries(runners)) {
    const fault = entryFault(entry_point, paths, folders) ?? scriptFault(type, entry_point, folders);
    if (fault) issues.push(issueAt(["testing", "runners", name, "entry_point"], fault));
  }
  return issues;
}

function entryFault(entry: string, paths: ReadonlySet<string>, folders: ReadonlySet<string>): string | null {
  const path = posix.normalize(entry).replace(/\/$/, "");
  if (paths.has(path) || folders.has(path)) return null;
  if (!/[*?[{]/.test(path)) return `the pack has no file or directory "${entry}"`;
  const matches = paths.values().some((each) => posix.matchesGlob(each, path));
  return matches ? null : `no file of the pack matches "${entry}"`;
}

/** A directory of scripts also has what they use. */
function scriptFault(type: string, entry: string, folders: ReadonlySet<string>): string | null {
  const path = posix.normalize(entry).replace(/\/$/, "");
  if (type !== "script" || !folders.has(path)) return null;
  return `"${entry}" is a directory: expected a script, or a pattern such as "${posix.join(path, "*.sh")}"`;
}

/** The directories of the files, with the pack's own as ".". */
function foldersOf(paths: ReadonlySet<string>): ReadonlySet<string> {
  const folders = new Set(["."]);
  for (const path of paths) {
    for (let folder = posix.dirname(path); !folders.has(folder); folder = posix.dirname(folder)) folders.add(folder);
  }
  return folders;
}
