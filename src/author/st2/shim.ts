import { readdir, readFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import type { Context } from "./import.ts";
import type { Draft } from "./report.ts";

const shim = fileURLToPath(new URL("./shim/", import.meta.url));

/** Adds the modules that give StackStorm's Python files what they expect, and the permission set of the actions that use the API. */
export async function addShim(context: Context): Promise<void> {
  const { draft, ref, settings, usesKeys, usesApi } = context;
  if (![...draft.files.keys()].some((file) => file.startsWith("st2/"))) return;
  for (const entry of await readdir(shim, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".py")) continue;
    const path = join(entry.parentPath, entry.name);
    draft.write(posix.join("st2", path.slice(shim.length)), await readFile(path));
  }
  const { defaults, keys } = settings;
  draft.write(
    "st2/attune_st2/pack.json",
    `${JSON.stringify({ ref, settings: settings.exist, defaults, keys }, null, 2)}\n`,
  );
  if (!usesApi) return;
  const system = systemKeys(draft);
  const hasKeys = usesKeys || Object.keys(settings.keys).length > 0;
  context.writeYaml("permission_sets/st2.yaml", {
    ref: `${ref}.st2`,
    label: "Actions imported from StackStorm",
    description: "Lets the actions of the pack read its settings, and read and write its keys.",
    grants: [
      ...(settings.exist ? [{ resource: "pack", actions: ["read"], constraints: { refs: [ref] } }] : []),
      ...(hasKeys ? [{ resource: "key", actions: ["read", "reveal"], constraints: { pack_refs: [ref] } }] : []),
      ...(usesKeys
        ? [{ resource: "key", actions: ["create", "update", "delete"], constraints: { pack_refs: [ref] } }]
        : []),
      ...(system.length > 0 ? [{ resource: "key", actions: ["read", "reveal"], constraints: { refs: system } }] : []),
      ...(hasInquiries(draft) ? [{ resource: "inquiry", actions: ["read", "create"] }] : []),
    ],
  });
}

/** Returns the refs of the keys of the system that the wrappers read. */
function systemKeys({ files }: Draft): string[] {
  const names = new Set<string>();
  for (const [file, { content }] of files) {
    if (!file.startsWith("st2/") || !file.endsWith(".json")) continue;
    JSON.parse(String(content), (_key, value) => {
      const path = (value as { op?: string } | null)?.op === "get" ? namesOf(value) : null;
      if (path && path[0] === "st2kv" && path[1] === "system" && path.length > 2)
        names.add(`system.${path.slice(2).join(".")}`);
      if (path && path[0] === "system" && path.length > 1) names.add(`system.${path.slice(1).join(".")}`);
      return value as unknown;
    });
  }
  return [...names].filter((name) => /^system\.[a-z0-9][a-z0-9_-]{0,62}$/.test(name)).sort();
}

function namesOf(expr: { op: string; name?: string; of?: never; key?: { value?: unknown } }): string[] | null {
  if (expr.op === "name") return [String(expr.name)];
  if (expr.op !== "get" || !expr.of) return null;
  const above = namesOf(expr.of);
  return above && [...above, String(expr.key?.value)];
}

const hasInquiries = ({ files }: Draft) =>
  [...files].some(
    ([file, { content }]) => /^st2\/[^/]+\.json$/.test(file) && String(content).includes('"runner": "inquirer"'),
  );
