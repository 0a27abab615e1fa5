import { realpath } from "node:fs/promises";
import { posix } from "node:path";
import type { z } from "zod";
import { InvalidInputError, type Issue, invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { compileParameters } from "../schema/schema.ts";
import { type CheckedDocument, checkDocument } from "./document.ts";
import { definesEnvironment, type Environments, environmentsOf } from "./environment.ts";
import { type PackFiles, readFiles } from "./files.ts";
import {
  type ActionManifest,
  actionManifest,
  namesUnfitForDotenv,
  type PackManifest,
  type PermissionSetManifest,
  packManifest,
  permissionSetManifest,
  type RuleManifest,
  type RuntimeManifest,
  ruleManifest,
  runtimeManifest,
  type SensorManifest,
  sensorManifest,
  type TriggerManifest,
  triggerManifest,
  unfitForDotenv,
} from "./manifest.ts";
import { testingFaults } from "./testing.ts";

const PACK_FILE = "pack.yaml";
const FOLDERS = ["runtimes", "actions", "triggers", "sensors", "permission_sets", "rules"];
const UNSUPPORTED = ["policies", "actions/workflows"];
const MOST_ISSUES = 100;
/** Runners whose entry point is a file of the pack. */
const SCRIPT_RUNNERS = new Set<unknown>(["shell", "bash", "python", "node", "container"]);

/** The checked files of a pack; every list is in the order of the file names. */
export interface CheckedPack {
  pack: PackManifest;
  runtimes: RuntimeManifest[];
  actions: ActionManifest[];
  triggers: TriggerManifest[];
  sensors: SensorManifest[];
  permissionSets: PermissionSetManifest[];
  rules: RuleManifest[];
  environments: Environments;
  /** sha-256, hex, over the sorted paths and contents. */
  digest: string;
  /** Bytes of all files together. */
  size: number;
  /** The directory, absolute and with links resolved. */
  path: string;
  /** Returns an issue at a field of the component with that ref, or of the pack itself. */
  issueAt(ref: string, path: readonly PropertyKey[], message: string): Issue;
}

/**
 * Reads a pack from a directory. Throws an InvalidInputError with every fault found, each with a path such as
 * `actions/echo.yaml:12:3 parameters.message.type`; changes nothing.
 */
export async function readPack(directory: string): Promise<CheckedPack> {
  const path = await existing(directory);
  const files = await readFiles(path, (file) => isManifest(file) || definesEnvironment(file));
  const issues = [...files.issues, ...unsupported(files)];

  const pack = packDocument(files, issues);
  const documents = new Map<string, CheckedDocument<unknown>>();
  const context = { files, issues, documents, packRef: pack?.raw["ref"] };
  const runtimes = components(context, "runtimes", runtimeManifest);
  const actions = components(context, "actions", actionManifest, actionFaults);
  const triggers = components(context, "triggers", triggerManifest);
  const sensors = sensorsOf(context, triggers);
  const permissionSets = components(context, "permission_sets", permissionSetManifest);
  const rules = components(context, "rules", ruleManifest);
  const environments = environmentsOf(files, issues);

  if (issues.length > 0 || !pack?.value) throw new InvalidInputError(bounded(issues));
  const { digest, size } = files;
  documents.set(pack.value.ref, pack);
  const issueAt: CheckedPack["issueAt"] = (ref, at, message) =>
    documents.get(ref)?.issueAt(at, message) ?? { path: ref, message };
  const values = { pack: pack.value, runtimes, actions, triggers, sensors, permissionSets, rules, environments };
  return { ...values, digest, size, path, issueAt };
}

async function existing(directory: string): Promise<string> {
  try {
    return await realpath(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      throw invalid("", `there is no directory "${directory}"`);
    }
    throw invalid("", `cannot read the pack directory ${directory}: ${error instanceof Error ? error.message : error}`);
  }
}

function isManifest(path: string): boolean {
  return path === PACK_FILE || (FOLDERS.includes(posix.dirname(path)) && /\.ya?ml$/.test(path));
}

function unsupported({ paths }: PackFiles): Issue[] {
  return UNSUPPORTED.filter((folder) => paths.values().some((path) => path.startsWith(`${folder}/`))).map((folder) => ({
    path: folder,
    message: `${posix.basename(folder)} are not supported by this version`,
  }));
}

function packDocument(files: PackFiles, issues: Issue[]): CheckedDocument<PackManifest> | null {
  const content = files.contents.get(PACK_FILE);
  if (!content) {
    issues.push({ path: PACK_FILE, message: "is missing: every pack needs this file" });
    return null;
  }
  const document = checkDocument(PACK_FILE, content, packManifest);
  issues.push(...document.issues);
  if (document.value?.testing) issues.push(...testingFaults(document.value.testing, files.paths, document.issueAt));
  return document;
}

interface PackContext {
  files: PackFiles;
  /** Found faults are appended. */
  issues: Issue[];
  /** Each read component is added by its ref. */
  documents: Map<string, CheckedDocument<unknown>>;
  packRef: unknown;
}

type Extra = (document: CheckedDocument<unknown>, files: PackFiles) => Issue[];

function components<T extends { ref: string }>(
  { files, issues, documents, packRef }: PackContext,
  folder: string,
  schema: z.ZodType<T>,
  extra?: Extra,
): T[] {
  const values: T[] = [];
  const owners = new Map<string, string>();
  for (const [path, content] of files.contents) {
    if (posix.dirname(path) !== folder) continue;
    if (path.endsWith(".yml")) {
      issues.push({ path, message: "expected the file name to end in .yaml" });
      continue;
    }
    const document = checkDocument(path, content, schema);
    issues.push(
      ...document.issues,
      ...refFaults(document, path, { packRef, owners }),
      ...(extra?.(document, files) ?? []),
    );
    if (document.value === null) continue;
    documents.set(document.value.ref, document);
    values.push(document.value);
  }
  return values;
}

interface Refs {
  packRef: unknown;
  /** Refs of the files read so far, each with its file. */
  owners: Map<string, string>;
}

function refFaults(document: CheckedDocument<unknown>, path: string, { packRef, owners }: Refs): Issue[] {
  const ref = document.raw["ref"];
  if (typeof ref !== "string") return [];
  const faults: Issue[] = [];
  if (typeof packRef === "string" && !ref.startsWith(`${packRef}.`)) {
    faults.push(document.issueAt(["ref"], `expected a ref that begins with "${packRef}."`));
  }
  const owner = owners.get(ref);
  if (owner) faults.push(document.issueAt(["ref"], `is the ref of ${owner} already`));
  else owners.set(ref, path);
  return faults;
}

function actionFaults(document: CheckedDocument<unknown>, files: PackFiles): Issue[] {
  const { raw, issueAt } = document;
  const names = raw["parameter_format"] === "dotenv" ? namesUnfitForDotenv(raw["parameters"]) : [];
  const unfit = names.map((name) => issueAt(["parameters", name], unfitForDotenv));
  return [...unfit, ...entryFaults(document, files)];
}

/** Returns the sensors. A trigger has one sensor, in the same pack. */
function sensorsOf(context: PackContext, triggers: readonly TriggerManifest[]): SensorManifest[] {
  const refs = triggers.map(({ ref }) => ref);
  const owners = new Map<string, string>();
  const sensors = components(context, "sensors", sensorManifest, ({ value, issueAt }, { paths }) => {
    if (value === null) return [];
    const { entry_point: entry, trigger_types: types, parameters, config } = value as SensorManifest; // by the schema
    const issues: Issue[] = [];
    if (!paths.has(entry)) {
      const beside = posix.join("sensors", entry);
      const hint = paths.has(beside) ? `did you mean "${beside}"?` : "expected a path below the pack's directory";
      issues.push(issueAt(["entry_point"], `there is no file "${entry}" in the pack; ${hint}`));
    }
    for (const [index, ref] of types.entries()) {
      const at = ["trigger_types", index];
      const owner = owners.get(ref);
      if (!refs.includes(ref))
        issues.push(issueAt(at, `there is no trigger "${ref}" in the pack${didYouMean(ref, refs)}`));
      else if (owner !== undefined) issues.push(issueAt(at, `is emitted by the sensor "${owner}" already`));
      owners.set(ref, (value as SensorManifest).ref);
    }
    return [...issues, ...configFaults(parameters, config, issueAt)];
  });
  return sensors;
}

function configFaults(
  parameters: SensorManifest["parameters"],
  config: JsonObject,
  issueAt: CheckedDocument<unknown>["issueAt"],
): Issue[] {
  try {
    compileParameters(parameters)(config, "config");
    return [];
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    return error.issues.map(({ path, message }) => issueAt(path.split("."), message));
  }
}

function entryFaults({ raw, issueAt }: CheckedDocument<unknown>, { paths }: PackFiles): Issue[] {
  const runner = raw["runner_type"];
  const entry = raw["entry_point"];
  if (runner === "workflow") return [issueAt(["runner_type"], "workflows are not supported by this version")];
  if (runner === "pack" && !["core.test_pack", "core.install_pack"].includes(String(raw["ref"]))) {
    return [
      issueAt(
        ["runner_type"],
        "is only for actions of the core pack: expected shell, bash, python, node, builtin or container",
      ),
    ];
  }
  const hasContainer = (raw["container"] ?? null) !== null;
  if (hasContainer !== (runner === "container")) {
    const message = hasContainer ? "is only for the runner type container" : "is required: expected {image: …}";
    return [issueAt(["container"], message)];
  }
  if (runner === "container" && (entry ?? null) === null) return [];
  if (!SCRIPT_RUNNERS.has(runner)) return [];
  if (entry === undefined || entry === null) {
    return [issueAt(["entry_point"], `is required: expected the script's path, as the runner type is "${runner}"`)];
  }
  if (typeof entry !== "string" || paths.has(entry)) return [];
  const beside = posix.join("actions", entry);
  const hint = paths.has(beside) ? `did you mean "${beside}"?` : "expected a path below the pack's directory";
  return [issueAt(["entry_point"], `there is no file "${entry}" in the pack; ${hint}`)];
}

function bounded(issues: Issue[]): Issue[] {
  const more = issues.length - MOST_ISSUES;
  return more > 0 ? [...issues.slice(0, MOST_ISSUES), { path: "", message: `and ${more} more faults` }] : issues;
}
