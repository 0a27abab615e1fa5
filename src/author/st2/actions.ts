import { posix } from "node:path";
import type { Json, JsonObject } from "../../lib/json.ts";
import type { ParameterMap } from "../../schema/parameter.ts";
import { namesIn, requireEvaluated } from "./evaluated.ts";
import type { Context, KnownAction } from "./import.ts";
import { Inexpressible, isTemplate, type Part } from "./jinja.ts";
import type { Parts } from "./pack.ts";
import { convertParameters } from "./parameters.ts";
import { needsOf } from "./python.ts";
import { type Runner, runnerAliases, runners } from "./runners.ts";
import { shellTemplateOf } from "./shell.ts";
import { booleanOf, entryOf, listOf, nameOf, objectOf, type Source, textOf } from "./source.ts";

/** What the wrapper of an action reads. */
interface Spec {
  runner: string;
  pack: string;
  /** The names of all parameters that StackStorm passes, in the order of its file. */
  names: string[];
  /** Types by name, for positional arguments. */
  types: Record<string, string>;
  /** Names in the order of their positions. */
  positions: string[];
  /** Values that callers cannot change, and defaults that are computed. */
  fixed: Record<string, Parts>;
  defaults: Record<string, Parts>;
  /** The parameters of StackStorm's runner among them. */
  ofRunner: string[];
  entry?: string;
  command?: { parts: unknown; values: unknown };
}

const longestTimeout = 30 * 24 * 60 * 60;

/** Converts the actions of the pack, and adds each to the draft. */
export function convertActions(context: Context): void {
  for (const source of context.source.documents("actions")) {
    const name = textOf(source.value["name"]) ?? posix.basename(source.file).replace(/\.ya?ml$/, "");
    const known = convertAction(source, name, context);
    context.actions.set(name, typeof known === "string" ? { reason: known } : known);
    if (typeof known === "string") context.draft.drop("action", name, known);
  }
}

/** Converts an action; returns why that cannot be. */
function convertAction(source: Source, name: string, context: Context): KnownAction | string {
  if (source.issues.length > 0) return source.issues.join("; ");
  const given = textOf(source.value["runner_type"]) ?? "";
  const runnerName = entryOf(runnerAliases, given) ?? given;
  const runner = entryOf(runners, runnerName);
  if (!runner) return `the runner "${runnerName}" is unknown`;
  if ("reason" in runner) return runner.reason;
  const ours = nameOf(name);
  if (ours === "") return "its name gives no ref";
  const ref = `${context.ref}.${ours}`;
  if (context.takenRefs.has(ref)) return `its ref would be ${ref}, which another action has`;
  try {
    return write(source, { name, ours, ref, runner, runnerName }, context);
  } catch (error) {
    if (error instanceof Inexpressible) return error.message;
    throw error;
  }
}

interface Names {
  name: string;
  ours: string;
  ref: string;
  runner: Extract<Runner, { parameters: object }>;
  runnerName: string;
}

function write(source: Source, { name, ours, ref, runner, runnerName }: Names, context: Context): KnownAction {
  const { draft, settings } = context;
  const { value } = source;
  const notes: string[] = name === ours ? [] : [`its ref is ${ref}`];
  const spec: Spec = {
    ...{
      runner: runnerName,
      pack: context.ref,
      names: [],
      types: {},
      positions: [],
      fixed: {},
      defaults: {},
      ofRunner: [],
    },
  };
  const declared = objectOf(value["parameters"]);
  const { parameters, timeout } = split(declared, { spec, runner, notes, context });
  let usesApi = settings.exist && runnerName === "python-script";
  if (runner.entry) {
    const found = scriptPathOf(textOf(value["entry_point"]) ?? "", context);
    spec.entry = found;
    if (runnerName === "python-script") {
      const needs = needsOf(found, context.source.contents);
      if (needs.missing.length > 0)
        throw new Inexpressible(`it imports ${needs.missing.join(", ")} of StackStorm: write it for Attune's API`);
      for (const library of needs.libraries) context.libraries.add(library);
      usesApi ||= needs.usesDatastore;
      if (needs.usesDatastore) context.usesKeys = true;
    }
  }
  if (runnerName === "local-shell-cmd") spec.command = commandOf(declared, { spec, parameters, notes, context });
  usesApi ||= runnerName === "inquirer" || usesKeys(spec);
  if (usesApi) context.usesApi = true;
  draft.write(`st2/${ours}.run.py`, wrapper);
  draft.write(`st2/${ours}.json`, `${JSON.stringify(spec, null, 2)}\n`);
  const file = `actions/${ours}.yaml`;
  const manifest = {
    ...{ ref, label: name.slice(0, 200), description: textOf(value["description"])?.slice(0, 10_000) ?? null },
    ...{ enabled: booleanOf(value["enabled"], true), runner_type: "python", entry_point: `st2/${ours}.run.py` },
    ...{ parameters: parameters as unknown as JsonObject, output_format: runner.output, timeout }, // they are JSON
    ...(usesApi ? { permission_set_refs: [`${context.ref}.st2`] } : {}),
    tags: [...new Set(listOf(value["tags"]).flatMap(tagOf))],
  };
  context.writeYaml(file, manifest);
  draft.carry("action", name, file, notes);
  context.takenRefs.add(ref);
  return { ref, parameters, manifest, file };
}

const wrapper = "import attune_st2.run\n\nattune_st2.run.main(__file__)\n";

/** StackStorm writes a tag as {name: value}. */
const tagOf = (tag: Json): string[] =>
  typeof tag === "string"
    ? [tag.slice(0, 200)].filter((text) => text !== "")
    : Object.entries(objectOf(tag)).map(([key, value]) => `${key}:${String(value)}`.slice(0, 200));

/** Whether a default or a fixed value reads a key or a setting. */
function usesKeys({ fixed, defaults, command }: Spec): boolean {
  const names = namesIn([...Object.values(fixed), ...Object.values(defaults), command ?? {}]);
  return ["st2kv", "system", "config_context"].some((root) => names.has(root));
}

/** Splits what the file declares into parameters of ours, fixed values and computed defaults. */
function split(
  declared: JsonObject,
  { spec, runner, notes, context }: { spec: Spec; runner: Names["runner"]; notes: string[]; context: Context },
): { parameters: ParameterMap; timeout: number } {
  const open: JsonObject = {};
  const positions = new Map<string, number>();
  for (const [name, schema] of Object.entries(declared)) {
    const given = objectOf(schema);
    if (name === "timeout") continue;
    if (Object.hasOwn(runner.parameters, name)) spec.ofRunner.push(name);
    if (name === "cmd" && runner.command) continue;
    spec.names.push(name);
    spec.types[name] = String(given["type"] ?? "");
    if (typeof given["position"] === "number") positions.set(name, given["position"]);
    const parameter = openOf(name, given, { spec, context, notes, declared });
    if (parameter) open[name] = parameter;
  }
  spec.positions = [...positions].sort(([, a], [, b]) => a - b).map(([name]) => name);
  const converted = convertParameters(open, { open: false });
  for (const [name, reason] of converted.refused) throw new Inexpressible(`the parameter ${name}: ${reason}`);
  notes.push(...converted.notes);
  const seconds = Number(objectOf(declared["timeout"])["default"] ?? runner.timeout);
  const timeout = seconds > 0 ? Math.min(Math.ceil(seconds), longestTimeout) : runner.timeout;
  return { parameters: converted.parameters, timeout };
}

/** Returns what callers may give for a parameter; null if its value is fixed. */
function openOf(
  name: string,
  given: JsonObject,
  { spec, ...rest }: { spec: Spec; context: Context; notes: string[]; declared: JsonObject },
): JsonObject | null {
  const { default: value, ...without } = given;
  const isComputed = typeof value === "string" && isTemplate(value);
  const computed = isComputed ? computedOf(name, value, rest) : null;
  if (booleanOf(given["immutable"], false)) {
    if (isComputed && !computed) throw new Inexpressible(`the fixed value of ${name} has no counterpart`);
    spec.fixed[name] = computed ?? { json: value ?? null };
    return null;
  }
  if (computed) spec.defaults[name] = computed;
  // What the runner takes has a value without a default too.
  const isRequired = computed === null && !spec.ofRunner.includes(name);
  return isComputed ? { ...without, required: isRequired } : given;
}

/** Returns a default that the wrapper computes; null, with a note, if it cannot. */
function computedOf(
  name: string,
  value: string,
  { context, notes, declared }: { context: Context; notes: string[]; declared: JsonObject },
): Parts | null {
  try {
    const parts = context.parse(value);
    requireNames(parts, declared);
    return { parts };
  } catch (error) {
    if (!(error instanceof Inexpressible)) throw error;
    notes.push(`${name} has no default: ${error.message}`);
    return null;
  }
}

/** Requires that a template uses only parameters, keys and settings. */
function requireNames(parts: readonly Part[], declared: JsonObject): void {
  requireEvaluated(
    parts,
    (name) => ["st2kv", "system", "config_context"].includes(name) || Object.hasOwn(declared, name),
  );
}

function scriptPathOf(given: string, { source }: Context): string {
  const path = posix.normalize(posix.join("actions", given));
  if (given === "" || posix.isAbsolute(given) || path.startsWith("../") || path === "..")
    throw new Inexpressible(`the entry point ${JSON.stringify(given)} is no path below the pack's directory`);
  if (!source.paths.has(path)) throw new Inexpressible(`there is no file ${path}`);
  return path;
}

/** Returns the command line of an action, whose values are variables of the shell. */
function commandOf(
  declared: JsonObject,
  { spec, parameters, notes, context }: { spec: Spec; parameters: ParameterMap; notes: string[]; context: Context },
): Spec["command"] {
  const cmd = objectOf(declared["cmd"]);
  const line = textOf(cmd["default"]);
  if (line === null)
    throw new Inexpressible(
      "its callers write the command line: use core.shell, whose command is written in the rule and gets values as args",
    );
  if (!booleanOf(cmd["immutable"], false))
    notes.push("cmd is no parameter any longer: callers cannot change the command line");
  const parts = isTemplate(line) ? context.parse(line) : [{ text: line }];
  requireNames(parts, declared);
  const template = shellTemplateOf(parts);
  for (const name of namesIn(parts)) if (parameters[name] && !spec.names.includes(name)) spec.names.push(name);
  if (template.values.length > 0) notes.push("values in its command line are passed as variables, never as code");
  return { parts: template.parts, values: template.values };
}
