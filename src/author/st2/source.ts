import { lstat } from "node:fs/promises";
import { join, posix } from "node:path";
import { z } from "zod";
import { checkDocument } from "../../catalog/document.ts";
import { readFiles } from "../../catalog/files.ts";
import { invalid } from "../../errors.ts";
import type { Json, JsonObject } from "../../lib/json.ts";

/** A YAML file of a StackStorm pack; `issues` says why it cannot be read. */
export interface Source {
  file: string;
  value: JsonObject;
  issues: string[];
}

/** The files of a StackStorm pack. */
export interface SourcePack {
  contents: ReadonlyMap<string, Buffer>;
  paths: ReadonlySet<string>;
  executables: ReadonlySet<string>;
  /** Files that no pack may contain, such as links, each with the reason. */
  unfit: { path: string; message: string }[];
  /** Returns the YAML files directly in a folder, in the order of their names. */
  documents(folder: string): Source[];
  /** Returns a YAML file at the top; null if there is none. */
  document(file: string): Source | null;
}

/** Reads the files of a StackStorm pack. Throws InvalidInputError for a directory that is none. */
export async function readSource(directory: string): Promise<SourcePack> {
  let files: Awaited<ReturnType<typeof readFiles>>;
  try {
    files = await readFiles(directory, () => true);
  } catch (error) {
    throw invalid("directory", `"${directory}" cannot be read: ${error instanceof Error ? error.message : error}`);
  }
  const { contents, paths, issues } = files;
  const document = (file: string) => {
    const content = contents.get(file);
    return content ? read(file, content) : null;
  };
  const modes = await Promise.all(
    [...paths].map(async (path) => [path, (await lstat(join(directory, path))).mode] as const),
  );
  return {
    ...{ contents, paths, document },
    executables: new Set(modes.flatMap(([path, mode]) => ((mode & 0o100) === 0 ? [] : [path]))),
    unfit: issues.map(({ path, message }) => ({ path, message })),
    documents: (folder) =>
      [...paths]
        .filter((path) => posix.dirname(path) === folder && /\.ya?ml$/.test(path))
        .flatMap((path) => document(path) ?? []),
  };
}

function read(file: string, content: Buffer): Source {
  const { value, issues } = checkDocument(file, content, z.record(z.string(), z.json()));
  if (content.includes("__proto__"))
    return { file, value: {}, issues: [`${file}: the name __proto__ is not supported`] };
  return { file, value: value ?? {}, issues: issues.map(({ path, message }) => `${path}: ${message}`) };
}

/** Returns the entry of a table; undefined for a name that the table does not have itself, such as "constructor". */
export const entryOf = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

/** The words that YAML 1.1, which StackStorm reads, has for booleans. */
const words: Readonly<Record<string, boolean>> = {
  yes: true,
  on: true,
  true: true,
  no: false,
  off: false,
  false: false,
};

/** Returns a boolean as StackStorm reads it, or the other value. */
export function booleanOf(value: Json | undefined, other: boolean): boolean {
  if (typeof value === "boolean") return value;
  return typeof value === "string" ? (entryOf(words, value.toLowerCase()) ?? other) : other;
}

/** Returns a text; null for what is none. */
export const textOf = (value: Json | undefined): string | null =>
  typeof value === "string" ? value : typeof value === "number" ? String(value) : null;

export const objectOf = (value: Json | undefined): JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};

export const listOf = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : []);

/** Returns a name as the part of a ref that follows the pack's: lower case, without dots. */
export const nameOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]/g, "_")
    .replace(/^[_-]+/, "")
    .slice(0, 90);
