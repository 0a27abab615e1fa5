import { valid } from "semver";
import type { Json, JsonObject } from "../../lib/json.ts";
import type { Parameter, ParameterMap } from "../../schema/parameter.ts";
import { requireEvaluated } from "./evaluated.ts";
import { Inexpressible, isTemplate, type Part } from "./jinja.ts";
import { convertParameters } from "./parameters.ts";
import type { Draft } from "./report.ts";
import { listOf, nameOf, objectOf, type Source, textOf } from "./source.ts";

/** What the shim knows of the pack's settings: defaults, and which settings are keys. */
export interface Settings {
  /** Whether the pack has any. */
  exist: boolean;
  schema: ParameterMap;
  /** The same with the secret ones, which sensors have as settings of their own. */
  whole: ParameterMap;
  defaults: Record<string, Parts>;
  /** The names of keys of the pack, by the paths of the secret settings between dots. */
  keys: Record<string, string>;
}

/** A value as the shim computes it: literal JSON, or the parts of a template. */
export type Parts = { json: Json } | { parts: Part[] };

/** Returns the ref of the new pack; null if its name gives none. */
export function packRefOf({ value }: Source): string | null {
  const ref = nameOf(textOf(value["ref"]) ?? textOf(value["name"]) ?? "").replace(/^[^a-z]+/, "");
  return ref.length > 1 ? ref : null;
}

/** Returns a semantic version: StackStorm also takes versions of one or two numbers. */
export function versionOf({ value }: Source): { version: string; note: string | null } {
  const given = textOf(value["version"]) ?? "";
  const [, major = "0", minor = "0", patch = "0", rest = ""] =
    /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?([-+][\w.+-]*)?$/.exec(given) ?? [];
  const numbers = [major, minor, patch].map((number) => String(Number(number))).join(".");
  const version = valid(`${numbers}${rest}`) === null ? numbers : `${numbers}${rest}`;
  return { version, note: version === given ? null : `the version ${JSON.stringify(given)} is written as ${version}` };
}

/** Returns the content of `pack.yaml`, and adds the pack to the draft. */
export function convertPack(source: Source, ref: string, settings: Settings, draft: Draft): JsonObject {
  const { value } = source;
  const { version, note } = versionOf(source);
  const name = textOf(value["name"]) || ref;
  const python = listOf(value["python_versions"]).map(String);
  const notes = note === null ? [] : [note];
  if (python.length > 0 && !python.some((each) => each.startsWith("3")))
    notes.push(`it says that it needs Python ${python.join(", ")}; actions run in Python 3`);
  if (listOf(value["dependencies"]).length > 0)
    notes.push("its dependencies are addresses of packs: import each, and add its ref to dependencies");
  draft.carry("pack", ref, "pack.yaml", notes);
  const kept = ["name", "version", "stackstorm_version", "python_versions", "contributors", "dependencies"];
  return {
    ref,
    label: name.slice(0, 200),
    version,
    description: textOf(value["description"])?.slice(0, 10_000) ?? null,
    author: textOf(value["author"])?.slice(0, 200) ?? null,
    email: textOf(value["email"])?.slice(0, 200) ?? null,
    tags: [...new Set(listOf(value["keywords"]).flatMap((each) => textOf(each)?.slice(0, 200) || []))].slice(0, 100),
    meta: {
      stackstorm: Object.fromEntries(kept.flatMap((key) => (value[key] === undefined ? [] : [[key, value[key]]]))),
    },
    conf_schema: settings.schema as unknown as JsonObject, // it is JSON
  };
}

/** Returns the settings that `config.schema.yaml` describes, and adds each to the draft. */
export function convertSettings(
  source: Source | null,
  { ref, parse, draft }: { ref: string; parse: (source: string) => Part[]; draft: Draft },
): Settings {
  const settings: Settings = { exist: source !== null, schema: {}, whole: {}, defaults: {}, keys: {} };
  if (!source) return settings;
  if (source.issues.length > 0) {
    draft.drop("setting", source.file, source.issues.join("; "));
    return settings;
  }
  for (const [name, value] of Object.entries(source.value)) {
    const given = objectOf(value);
    const { default: _, ...schema } = given;
    const { parameters, notes, refused } = convertParameters({ [name]: schema }, { open: true });
    const parameter = parameters[name];
    if (!parameter) {
      draft.drop("setting", name, refused.get(name) ?? "it has no counterpart");
      continue;
    }
    settings.whole[name] = parameter;
    const said = notes.map((each) => each.slice(name.length + 2));
    const plain = withoutSecrets(name, parameter, settings.keys);
    const keys = Object.entries(settings.keys).filter(([path]) => path === name || path.startsWith(`${name}.`));
    for (const [path, key] of keys)
      said.push(
        `${path === name ? "its value" : path} is the key pack.${ref}.${key}: attune key set ${key} --pack ${ref}`,
      );
    if (plain) settings.schema[name] = plain;
    said.push(...addDefaults(name, given, { settings, parse }));
    draft.carry("setting", name, null, said);
  }
  return settings;
}

/** Adds the defaults of a setting and of its fields; returns notes. */
function addDefaults(
  path: string,
  schema: JsonObject,
  context: { settings: Settings; parse: (source: string) => Part[] },
): string[] {
  const { settings, parse } = context;
  const notes: string[] = [];
  const value = schema["default"];
  if (value !== undefined && value !== null) {
    try {
      const computed =
        typeof value === "string" && isTemplate(value) ? { parts: checked(parse(value)) } : { json: value };
      // A key that is not set must not hide behind an empty text.
      if (!(Object.hasOwn(settings.keys, path) && value === "")) settings.defaults[path] = computed;
    } catch (error) {
      if (!(error instanceof Inexpressible)) throw error;
      notes.push(`the default of ${path} is left out: ${error.message}`);
    }
  }
  for (const [name, field] of Object.entries(objectOf(schema["properties"])))
    notes.push(...addDefaults(`${path}.${name}`, objectOf(field), context));
  return notes;
}

/** Requires that a default uses keys only. */
function checked(parts: Part[]): Part[] {
  requireEvaluated(parts, (name) => name === "st2kv" || name === "system");
  return parts;
}

/** Returns the parameter without its secrets, which become keys; null if nothing is left. */
function withoutSecrets(path: string, parameter: Parameter, keys: Record<string, string>): Parameter | null {
  if (parameter.secret) {
    keys[path] = path
      .toLowerCase()
      .replaceAll(".", "__")
      .replaceAll(/[^a-z0-9_-]/g, "_")
      .replace(/^[_-]+/, "")
      .slice(0, 63);
    return null;
  }
  if (!parameter.properties) return parameter;
  const fields = Object.entries(parameter.properties).flatMap(([name, field]): [string, Parameter][] => {
    const plain = withoutSecrets(`${path}.${name}`, field, keys);
    return plain ? [[name, plain]] : [];
  });
  return { ...parameter, properties: Object.fromEntries(fields) };
}
