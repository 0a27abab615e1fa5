import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, posix, resolve } from "node:path";
import { stringify } from "yaml";
import { readPack } from "../../catalog/read.ts";
import { invalid } from "../../errors.ts";
import type { JsonObject } from "../../lib/json.ts";
import type { ParameterMap } from "../../schema/parameter.ts";
import { checkPacks, corePack } from "../check.ts";
import { convertActions } from "./actions.ts";
import { loadParser, type Part } from "./jinja.ts";
import { convertPolicies, convertSensors, convertTriggers, listAliases } from "./others.ts";
import { convertPack, convertSettings, packRefOf, type Settings } from "./pack.ts";
import { requirementsWith } from "./python.ts";
import { countsOf, Draft, type ImportReport } from "./report.ts";
import { convertRules } from "./rules.ts";
import { addShim } from "./shim.ts";
import { readSource, type SourcePack, textOf } from "./source.ts";

/** An action of the pack: what rules need of it, or why it was not carried. */
export type KnownAction =
  | { ref: string; parameters: ParameterMap; manifest: JsonObject; file: string }
  | { reason: string };

/** What the conversions of the parts share. */
export interface Context {
  source: SourcePack;
  /** The ref of the new pack, and the name of the imported one in its own refs. */
  ref: string;
  sourceName: string;
  draft: Draft;
  settings: Settings;
  parse(source: string): Part[];
  writeYaml(file: string, value: JsonObject): void;
  /** The actions by their names, and the refs of triggers by their former refs. */
  actions: Map<string, KnownAction>;
  triggers: Map<string, string>;
  takenRefs: Set<string>;
  /** What the core pack and the packs of `--with` have. */
  known: { actions: ReadonlyMap<string, ParameterMap>; triggers: ReadonlySet<string> };
  /** Refs of other packs that rules use. */
  dependencies: Set<string>;
  /** Libraries that StackStorm brings and the pack uses. */
  libraries: Set<string>;
  /** Whether any action uses the datastore, and whether any needs a token. */
  usesKeys: boolean;
  usesApi: boolean;
}

/** How a pack is imported. */
export interface ImportOptions {
  /** The directory of the new pack; by default its ref, in the present directory. */
  into: string | null;
  force: boolean;
  /** Directories of packs that the rules use. */
  others: readonly string[];
}

/**
 * Imports the StackStorm pack in a directory into a new directory, as a pack that passes the check. What has no counterpart is left out, and the report
 * says why. Throws InvalidInputError for a directory that is no such pack, and for a target that exists, unless it is forced.
 */
export async function importPack(directory: string, { into, force, others }: ImportOptions): Promise<ImportReport> {
  const source = await readSource(resolve(directory));
  const manifest = source.document("pack.yaml");
  if (!manifest)
    throw invalid("pack.yaml", `is missing in "${directory}": expected the directory of a StackStorm pack`);
  if (manifest.issues.length > 0) throw invalid("", manifest.issues.join("\n"));
  const ref = packRefOf(manifest);
  if (ref === null) throw invalid("pack.yaml", "has no ref or name that gives the ref of a pack");
  const target = resolve(into ?? ref);
  await recover(target);
  await requireFree(target, force);

  const parse = await loadParser();
  const draft = new Draft();
  const settings = convertSettings(source.document("config.schema.yaml"), { ref, parse, draft });
  const content = convertPack(manifest, ref, settings, draft);
  const context: Context = {
    ...{ source, ref, draft, settings, parse },
    sourceName: textOf(manifest.value["ref"]) ?? textOf(manifest.value["name"]) ?? ref,
    writeYaml: (file, value) => draft.write(file, stringify(value, { lineWidth: 120, aliasDuplicateObjects: false })),
    ...{ actions: new Map(), triggers: new Map(), takenRefs: new Set() },
    known: await knownOf(others),
    ...{ dependencies: new Set(), libraries: new Set(), usesKeys: false, usesApi: false },
  };
  convertTriggers(context);
  convertSensors(context);
  convertActions(context);
  convertPolicies(context);
  convertRules(context);
  listAliases(context);
  copyFiles(context);
  await addShim(context);
  const dependencies = [...context.dependencies].sort();
  context.writeYaml("pack.yaml", { ...content, ...(dependencies.length > 0 ? { dependencies } : {}) });
  await build(target, { draft, force, others });
  return {
    ...{ ref, version: String(content["version"]), directory: target },
    ...{ components: draft.components, counts: countsOf(draft.components) },
  };
}

async function requireFree(target: string, force: boolean): Promise<void> {
  const isThere = await stat(target).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
  if (!isThere) return;
  if (!force) throw invalid("into", `"${target}" exists: name another directory by --into, or replace it by --force`);
  const manifest = await readFile(join(target, "pack.yaml"), "utf8").catch(() => "");
  if (!/^ +stackstorm:/m.test(manifest))
    throw invalid("into", `"${target}" is not the directory of an earlier import, and is not replaced`);
}

async function knownOf(others: readonly string[]): Promise<Context["known"]> {
  const packs = await Promise.all([corePack, ...others].map((each) => readPack(each)));
  return {
    actions: new Map(packs.flatMap(({ actions }) => actions.map((each) => [each.ref, each.parameters]))),
    triggers: new Set(packs.flatMap(({ triggers }) => triggers.map((each) => each.ref))),
  };
}

/** Folders whose YAML files are components, which are converted and not copied. */
const folders = new Set([
  "actions",
  "aliases",
  "policies",
  "rules",
  "sensors",
  "triggers",
  "runtimes",
  "permission_sets",
]);
const notCopied = /^(tests|aliases|policies|actions\/workflows|st2|runtimes|permission_sets)\//;
const replaced = new Set(["pack.yaml", "config.schema.yaml", "package.json", "package-lock.json"]);

/** Copies what the components need: programs, libraries, documents. */
function copyFiles({ source, draft, libraries }: Context): void {
  for (const { path, message } of source.unfit) draft.drop("file", path, message);
  let tests = 0;
  for (const [path, content] of source.contents) {
    if (path.startsWith("tests/")) tests += 1;
    if (path === "package.json")
      draft.drop("file", path, "Attune would build an environment of Node.js from it, which no action uses");
    const isComponent = folders.has(posix.dirname(path)) && /\.ya?ml$/.test(path);
    if (
      isComponent ||
      replaced.has(path) ||
      notCopied.test(path) ||
      path.split("/").some((part) => part.startsWith("."))
    )
      continue;
    draft.write(path, content, source.executables.has(path));
  }
  if (tests > 0)
    draft.drop("tests", "tests/", "they use StackStorm's test library: write tests as docs/pack-tests.md says");
  const own = source.contents.get("requirements.txt")?.toString() ?? "";
  const { content, added } = requirementsWith(own, libraries);
  if (content !== "") draft.write("requirements.txt", content);
  if (added.length > 0 || own !== "") {
    const notes = added.length > 0 ? [`it also names ${added.join(", ")}, which StackStorm brings`] : [];
    draft.carry("requirements", "requirements.txt", "requirements.txt", notes);
  }
}

/** Writes the files beside the target, checks them, leaves out what the check refuses, and puts them in place. */
async function build(
  target: string,
  { draft, force, others }: { draft: Draft; force: boolean; others: readonly string[] },
): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  const temporary = await mkdtemp(join(dirname(target), `.${basename(target)}-`));
  try {
    for (const [path, file] of draft.files) await writeNew(temporary, path, file);
    await withdrawFaults(temporary, { draft, others });
    // mkdtemp makes it private.
    await chmod(temporary, 0o755);
    if (!draft.components.some(({ kind, result }) => result !== "not_carried" && kind !== "pack"))
      throw invalid(
        "",
        `nothing of the pack has a counterpart:\n${draft.components.map(({ kind, name, notes }) => `${kind} ${name}: ${notes.join("; ")}`).join("\n")}`,
      );
    await place(temporary, target, force);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function writeNew(
  directory: string,
  path: string,
  { content, isExecutable }: { content: string | Buffer; isExecutable: boolean },
) {
  const file = join(directory, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content, { mode: isExecutable ? 0o755 : 0o644 });
}

/** A component that the check refuses is left out; what depends on it is found by the next check. */
async function withdrawFaults(
  directory: string,
  { draft, others }: { draft: Draft; others: readonly string[] },
): Promise<void> {
  for (;;) {
    const [{ issues } = { issues: [] }] = await checkPacks([directory], others);
    if (issues.length === 0) return;
    const byFile = Map.groupBy(issues, ({ path }) => path.split(":")[0] ?? "");
    const faulty = draft.components.filter(({ file, kind }) => file !== null && kind !== "pack" && byFile.has(file));
    if (faulty.length === 0)
      throw invalid(
        "",
        `the result does not pass the check:\n${issues.map(({ path, message }) => `${path}: ${message}`).join("\n")}`,
      );
    for (const component of faulty) {
      const file = component.file ?? "";
      draft.withdraw(
        component,
        (byFile.get(file) ?? []).map(({ path, message }) => `${path.replace(/^\S+ /, "")}: ${message}`),
      );
      await rm(join(directory, file));
    }
  }
}

/** Returns the directories that imports have put aside; a random part, as of mkdtemp, is in their names. */
async function findAside(target: string): Promise<string[]> {
  const prefix = `.${basename(target)}-`;
  const names = await readdir(dirname(target)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const isAside = (name: string) => name.startsWith(prefix) && /^[A-Za-z0-9]{6}-old$/.test(name.slice(prefix.length));
  return names.filter(isAside).map((name) => join(dirname(target), name));
}

/** Puts back what an import has put aside that ended before the new directory was in its place. */
async function recover(target: string): Promise<void> {
  const [aside] = await findAside(target);
  if (aside !== undefined && !existsSync(target)) await rename(aside, target);
}

/**
 * A directory cannot be replaced in one step: the old one is put aside, and back if the new one cannot take its place. If the process ends in between, the
 * next import puts it back.
 */
async function place(temporary: string, target: string, force: boolean): Promise<void> {
  if (!force) return await rename(temporary, target).catch(refuseExisting);
  const aside = `${temporary}-old`;
  const hadOne = await rename(target, aside).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
  try {
    await rename(temporary, target);
  } catch (error) {
    if (hadOne) await rename(aside, target);
    throw error;
  }
  for (const old of await findAside(target)) await rm(old, { recursive: true, force: true });
}

function refuseExisting(error: NodeJS.ErrnoException): never {
  if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST" && error.code !== "ENOTDIR") throw error;
  throw invalid("into", "the directory was created meanwhile");
}
