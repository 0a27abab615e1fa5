import { isScalar, parseDocument, visit } from "yaml";
import { InvalidInputError } from "../errors.ts";
import { inexactness, maxJsonDepth, parseJson } from "../lib/json-text.ts";

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/**
 * The longest output of each format, in characters. Parsing blocks the process: hostile output of this length takes less than a
 * second, ten times as much JSON took 4 s. YAML takes about ten times as long as JSON.
 */
const lengthLimits = { json: 1024 * 1024, jsonl: 1024 * 1024, yaml: 128 * 1024 };
/** Each alias is searched among all anchors. */
const aliasLimit = 1_000;
/** The largest value with its aliases expanded, in characters and values; without aliases it is never larger than the output. */
const weightLimit = 1024 * 1024;

/**
 * Parses an action's stdout to a value for a jsonb column, or returns an error of one sentence. text: the string without its last line
 * break (one, as in StackStorm); json and yaml: one document; jsonl: the list of its non-empty lines. Empty stdout is null (jsonl: []).
 * json and jsonl are limited to 1 MiB, yaml to 128 KiB and 1,000 aliases. NUL and lone surrogates, which PostgreSQL refuses, become U+FFFD.
 */
export function parseOutput(
  format: "text" | "json" | "yaml" | "jsonl",
  stdout: string,
): { data: Json } | { error: string } {
  if (format === "text") return { data: stdout === "" ? null : storableText(stdout.replace(/\r?\n$/, "")) };
  const limit = lengthLimits[format];
  if (stdout.length > limit) {
    return {
      error: `The output is longer than the ${limit / 1024} KiB that are read as ${format}; write large results to a file.`,
    };
  }
  const source = stdout.startsWith("\ufeff") ? stdout.slice(1) : stdout;
  try {
    return { data: storable(parse(format, source)) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { error: storableText(`The output is not valid ${format}: ${reason}`) };
  }
}

function parse(format: "json" | "yaml" | "jsonl", source: string): Json {
  switch (format) {
    case "json":
      return source.trim() === "" ? null : parseJson(source);
    case "jsonl":
      return parseLines(source);
    case "yaml":
      return parseYaml(source);
    default:
      throw new Error(format satisfies never);
  }
}

function parseLines(source: string): Json[] {
  return source.split("\n").flatMap((line, index) => {
    if (line.trim() === "") return [];
    try {
      return [parseJson(line, `line ${index + 1}`)];
    } catch (error) {
      if (!(error instanceof InvalidInputError)) throw error;
      throw new Error(error.message);
    }
  });
}

function parseYaml(source: string): Json {
  // The check for duplicate keys compares each key with all earlier ones: 256 KiB of keys took half a minute.
  const document = parseDocument(source, { uniqueKeys: false, resolveKnownTags: false, logLevel: "error" });
  const [error] = document.errors;
  // The following lines quote the source.
  if (error !== undefined) throw new Error(error.message.split("\n", 1).join("").replace(/:$/, ""));
  let aliases = 0;
  visit(document, {
    Alias() {
      aliases += 1;
    },
    Scalar(_key, node) {
      const fault = isScalar(node) && typeof node.value === "number" ? inexactness(node.source ?? "") : null;
      if (fault !== null) throw new Error(fault);
    },
  });
  if (aliases > aliasLimit) throw new Error("it has more than 1,000 aliases");
  return document.toJS();
}

/** Converts a parsed value in place to one that jsonb can store, or throws. */
function storable(value: Json): Json {
  let size = 0;

  function weigh(weight: number) {
    size += weight;
    if (size > weightLimit) throw new Error("it is larger than 1 MiB with its aliases expanded");
  }
  function visitValue(item: Json, depth: number): Json {
    weigh(typeof item === "string" ? item.length : 1);
    if (typeof item === "string") return storableText(item);
    if (typeof item === "number" && !Number.isFinite(item)) throw new Error(`${item} is not a JSON number`);
    if (item === null || typeof item !== "object") return item;
    if (depth > maxJsonDepth) throw new Error(`it is nested deeper than ${maxJsonDepth} levels`);
    if (!Array.isArray(item)) return visitObject(item, depth);
    for (const [index, child] of item.entries()) item[index] = visitValue(child, depth + 1);
    return item;
  }
  function visitObject(item: { [name: string]: Json }, depth: number): Json {
    for (const [name, child] of Object.entries(item)) {
      weigh(name.length);
      const cleanName = storableText(name);
      const cleanChild = visitValue(child, depth + 1);
      if (cleanName === name && cleanChild === child) continue;
      delete item[name];
      // Assigning to "__proto__" would set the prototype.
      Object.defineProperty(item, cleanName, {
        value: cleanChild,
        configurable: true,
        enumerable: true,
        writable: true,
      });
    }
    return item;
  }
  return visitValue(value, 1);
}

function storableText(text: string): string {
  return text.isWellFormed() && !text.includes("\0") ? text : text.toWellFormed().replaceAll("\0", "\ufffd");
}
