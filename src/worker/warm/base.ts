import type { ProcessSpec } from "../../process/start.ts";

/** What an interpreter is started with before its action is known. */
export interface Base {
  /** Actions of the same base are started by the same interpreter. */
  key: string;
  command: string;
  cwd: string;
  env: Readonly<Record<string, string>>;
  runAs: ProcessSpec["runAs"];
}

/** The variables of one execution; with another user, its home too. */
const isOwn = (name: string, spec: ProcessSpec) =>
  name.startsWith("ATTUNE_") || (name === "HOME" && spec.runAs != null);

/** Returns the variables that differ between the executions of one base. */
export function ownVariables(spec: ProcessSpec): Record<string, string> {
  return Object.fromEntries(Object.entries(spec.env).filter(([name]) => isOwn(name, spec)));
}

/**
 * Returns the base of a process; null when it must be started cold: its values have NUL, it is no file of that kind with an absolute path, or a
 * variable that `refuses` accepts changes how the interpreter starts.
 */
export function baseOf(
  spec: ProcessSpec,
  { file, refuses, home }: { file: RegExp; refuses(name: string): boolean; home: string },
): Base | null {
  const [path = ""] = spec.args;
  if (!path.startsWith("/") || !file.test(path) || !spec.cwd.startsWith("/")) return null;
  const entries = Object.entries(spec.env);
  if (entries.some(([name]) => refuses(name))) return null;
  if ([spec.command, spec.cwd, ...spec.args, ...entries.flat()].some((text) => text.includes("\0"))) return null;
  const runAs = spec.runAs ?? null;
  const shared = entries.filter(([name]) => !isOwn(name, spec)).sort(([a], [b]) => (a < b ? -1 : 1));
  const env = { ...Object.fromEntries(shared), ...(runAs === null ? {} : { HOME: home }) };
  return {
    key: JSON.stringify([spec.command, spec.cwd, runAs, shared]),
    ...{ command: spec.command, cwd: spec.cwd, env, runAs },
  };
}

/** Room for the arguments and the environment of an action, which replace those of its interpreter in what the system shows. */
export const room = { argument: " ".repeat(4096), variable: { ATTUNE_ROOM: "x".repeat(16 * 1024) } };
