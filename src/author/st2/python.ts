import { posix } from "node:path";
import { entryOf } from "./source.ts";

/** Modules of StackStorm that the shim has. */
const shimmed = new Set([
  ...["st2common", "st2common.log", "st2common.runners", "st2common.runners.base_action"],
  ...["st2common.util", "st2common.util.isotime"],
  ...["st2actions", "st2actions.runners", "st2actions.runners.pythonrunner"],
  ...["st2reactor", "st2reactor.sensor", "st2reactor.sensor.base"],
]);
const ofStackStorm =
  /^(st2(common|client|actions|reactor|api|auth|stream|tests)|python_runner|local_runner|orquesta)(\.|$)/;
/** Libraries that StackStorm itself brings, and packs use without naming them. */
const brought: Readonly<Record<string, string>> = {
  ...{ six: "six", requests: "requests", yaml: "PyYAML", dateutil: "python-dateutil", pytz: "pytz" },
  ...{ jsonschema: "jsonschema", jinja2: "Jinja2", eventlet: "eventlet", simplejson: "simplejson" },
};

/** What a Python file needs, with the files of the pack that it imports. */
export interface Needs {
  /** Modules of StackStorm that the shim does not have. */
  missing: string[];
  /** Libraries that StackStorm brings. */
  libraries: string[];
  usesDatastore: boolean;
}

/** Returns what the Python file at a path needs. Modules are looked for where StackStorm looks for them. */
export function needsOf(path: string, contents: ReadonlyMap<string, Buffer>): Needs {
  const seen = new Set<string>();
  const needs = { missing: new Set<string>(), libraries: new Set<string>(), usesDatastore: false };
  const folder = posix.dirname(path);
  const roots = [folder, posix.join(folder, "lib"), "actions/lib", "actions", "sensors", "lib", ""];
  const pending = [path];
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    const text = contents.get(file)?.toString() ?? "";
    if (
      /\b(action_service|sensor_service|datastore)\b[\s\S]*?\b(get_value|set_value|delete_value|list_values)\b/.test(
        text,
      )
    )
      needs.usesDatastore = true;
    for (const module of modulesOf(text)) {
      const found = filesOf(module, [posix.dirname(file), ...roots], contents);
      if (found.length > 0) pending.push(...found);
      else addModule(module, needs);
    }
  }
  return { ...needs, missing: [...needs.missing].sort(), libraries: [...needs.libraries].sort() };
}

function addModule(module: string, { missing, libraries }: { missing: Set<string>; libraries: Set<string> }): void {
  const library = entryOf(brought, module.split(".")[0] ?? "");
  if (ofStackStorm.test(module) && !isShimmed(module)) missing.add(module);
  else if (library !== undefined) libraries.add(library);
}

/** `from st2common import log` and `from st2common.runners.base_action import Action` name modules or what is in them. */
const isShimmed = (module: string) => shimmed.has(module) || shimmed.has(module.split(".").slice(0, -1).join("."));

function modulesOf(text: string): string[] {
  const modules: string[] = [];
  for (const line of text.split("\n")) {
    const [, from = "", names = ""] = /^\s*from\s+([\w.]+)\s+import\s+(.+)/.exec(line) ?? [];
    if (from.startsWith(".")) continue;
    if (from !== "") {
      const first = names.replace(/[()\\]/g, "").split(",");
      modules.push(...first.map((name) => `${from}.${name.trim().split(/\s/)[0]}`));
    }
    const [, imported = ""] = /^\s*import\s+([\w., \t]+)/.exec(line) ?? [];
    modules.push(...imported.split(",").flatMap((name) => name.trim().split(/\s+as\s+/)[0] || []));
  }
  return modules;
}

function filesOf(module: string, roots: readonly string[], contents: ReadonlyMap<string, Buffer>): string[] {
  const names = module.split(".");
  for (const root of roots) {
    for (let length = names.length; length > 0; length--) {
      const base = posix.join(root, ...names.slice(0, length));
      const found = [`${base}.py`, `${base}/__init__.py`].filter((file) => contents.has(file));
      if (found.length > 0) return found;
    }
  }
  return [];
}

/** Returns `requirements.txt` with the libraries that it does not name yet. */
export function requirementsWith(
  content: string,
  libraries: ReadonlySet<string>,
): { content: string; added: string[] } {
  const norm = (name: string) => name.toLowerCase().replaceAll(/[-_.]+/g, "-");
  const named = new Set(
    content.split("\n").flatMap((line) => {
      const [name] = /^[A-Za-z0-9][\w.-]*/.exec(line.trim()) ?? [];
      return name === undefined ? [] : [norm(name)];
    }),
  );
  const added = [...libraries].filter((name) => !named.has(norm(name))).sort();
  if (added.length === 0) return { content, added };
  return { content: `${content.replace(/\n?$/, content === "" ? "" : "\n")}${added.join("\n")}\n`, added };
}
