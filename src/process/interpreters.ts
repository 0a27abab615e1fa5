import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { compileRegex } from "../lib/regex.ts";

/** A runtime on this host, with its command and the version that it reported. */
export interface FoundRuntime {
  ref: string;
  command: string | null;
  version: string | null;
}

interface Distribution {
  command: string;
  args?: string[];
  pattern?: string | null;
}

interface Distributions {
  commands?: Distribution[];
  min_version?: string | null;
}

const run = promisify(execFile);

/**
 * Returns those of the runtimes that are on this host, with the first command of each that reports a version as expected. Those without
 * commands need nothing.
 */
export async function findInterpreters(
  services: Services,
  wanted: ReadonlySet<string>,
  { path, env = {} }: { path: string; env?: Readonly<Record<string, string>> },
): Promise<FoundRuntime[]> {
  const stored = await rows<{ ref: string; distributions: Distributions }>(
    services.db,
    sql`select ref, distributions from attune.runtime order by ref`,
  );
  const known = stored.filter(({ ref }) => wanted.has(ref));
  return await findCommands(known, { path, env, warn: (fields, message) => services.log.warn(fields, message) });
}

/** The same for runtimes with their distributions. `warn` hears of interpreters that are too old. */
export async function findCommands(
  known: readonly { ref: string; distributions: Distributions }[],
  {
    path,
    env = {},
    warn,
  }: {
    path: string;
    env?: Readonly<Record<string, string>>;
    warn(fields: object, message: string): void;
  },
): Promise<FoundRuntime[]> {
  const searches = known.map(async ({ ref, distributions }) => {
    if ((distributions.commands ?? []).length === 0) return { ref, command: null, version: null };
    for (const distribution of distributions.commands ?? []) {
      const version = await versionOf(distribution, { ...env, PATH: path });
      if (version === null) continue;
      if (isAtLeast(version, distributions.min_version ?? null)) {
        return { ref, command: distribution.command, version };
      }
      warn(
        { runtime: ref, command: distribution.command, version, minVersion: distributions.min_version },
        "an interpreter is older than its runtime requires",
      );
    }
    return null;
  });
  return (await Promise.all(searches)).filter((found) => found !== null);
}

async function versionOf(
  { command, args, pattern }: Distribution,
  env: Record<string, string>,
): Promise<string | null> {
  try {
    const { stdout, stderr } = await run(command, args ?? [], { env, timeout: 10_000 });
    const output = `${stdout}${stderr}`;
    if (!pattern) return "";
    if (!compileRegex(pattern).test(output)) return null;
    return output.trim().split("\n")[0] ?? "";
  } catch {
    return null; // not installed: it is missing from the worker's capabilities
  }
}

/**
 * Returns whether the first version number in the text, such as "Python 3.11.2", is at least that version: numbers separated by dots are
 * compared one by one. True where either has none.
 */
export function isAtLeast(text: string, version: string | null): boolean {
  const numbers = (of: string | null) =>
    /\d+(?:\.\d+)*/
      .exec(of ?? "")?.[0]
      .split(".")
      .map(Number) ?? [];
  const found = numbers(text);
  if (found.length === 0) return true;
  for (const [index, required] of numbers(version).entries()) {
    const part = found[index] ?? 0;
    if (part !== required) return part > required;
  }
  return true;
}
