import { stringify } from "yaml";
import { InvalidInputError } from "../errors.ts";
import { executionVariable, ownName, workerVariable } from "../lib/action-processes.ts";
import { globalId } from "../lib/global-id.ts";

/**
 * Formats parameters for the action, with a line break at the end. dotenv is lines of NAME='value' that a POSIX shell can source: names
 * are unchanged, null is '', lists and objects are JSON; a list of scalars is also given as NAME_count and NAME_0, NAME_1, …, because
 * shells have no lists. Throws InvalidInputError for a name that is no valid shell variable. YAML is quoted so that readers of YAML 1.1
 * (PyYAML) see the same values, and has no aliases.
 */
export function formatParameters(values: Record<string, unknown>, format: "json" | "yaml" | "dotenv"): string {
  switch (format) {
    case "json":
      return `${JSON.stringify(values)}\n`;
    case "yaml":
      return stringify(values, { aliasDuplicateObjects: false, compat: "yaml-1.1", lineWidth: 0 });
    case "dotenv":
      return dotenv(values);
    default:
      throw new Error(format satisfies never);
  }
}

function dotenv(values: Record<string, unknown>): string {
  const issues = Object.keys(values)
    .filter((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    .map((name) => ({ path: name, message: "must be letters, digits and underscores to be passed as dotenv" }));
  if (issues.length > 0) throw new InvalidInputError(issues);
  return Object.entries(values)
    .flatMap(([name, value]) => [[name, value] as const, ...numbered(name, value)])
    .map(([name, value]) => `${name}='${plain(value).replaceAll("'", "'\\''")}'\n`)
    .join("");
}

function numbered(name: string, value: unknown): (readonly [string, unknown])[] {
  if (!Array.isArray(value) || value.some((item) => typeof item === "object" && item !== null)) return [];
  return [[`${name}_count`, value.length], ...value.map((item, index) => [`${name}_${index}`, item] as const)];
}

function plain(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

interface ActionContext {
  /** The variables that are passed on. */
  base: Readonly<Record<string, string | undefined>>;
  executionId: bigint;
  action: string;
  packRef: string;
  apiUrl: string;
  /** Paths of files and directories that were created for this execution; null for those that were not. */
  parameterFile: string | null;
  tokenFile: string | null;
  artifactsDir: string | null;
  /** Refs of the rule and trigger that caused the execution; null if none did. */
  rule: string | null;
  trigger: string | null;
  /** What a request to a webhook of this server must have as the header `attune-cause`. */
  cause: string;
  /** Its place in a distributed trace; null: it is in none. */
  traceparent: string | null;
}

/**
 * Returns an action's complete environment: the base and the documented ATTUNE_ variables. Null or missing values are omitted, except
 * PATH, which falls back to the system's directories.
 */
export function actionEnvironment(context: ActionContext): Record<string, string> {
  const { base } = context;
  const all = {
    ...base,
    PATH: base["PATH"] ?? "/usr/local/bin:/usr/bin:/bin",
    [executionVariable]: globalId("Execution", context.executionId),
    ATTUNE_ACTION: context.action,
    ATTUNE_PACK_REF: context.packRef,
    ATTUNE_API_URL: context.apiUrl,
    ATTUNE_PARAMETER_FILE: context.parameterFile,
    ATTUNE_TOKEN_FILE: context.tokenFile,
    ATTUNE_ARTIFACTS_DIR: context.artifactsDir,
    ATTUNE_RULE: context.rule,
    ATTUNE_TRIGGER: context.trigger,
    ATTUNE_CAUSE: context.cause,
    TRACEPARENT: context.traceparent,
    [workerVariable]: ownName(),
  };
  const given = Object.entries(all).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return Object.fromEntries(given);
}
