import { InvalidInputError, type Issue, invalid } from "../errors.ts";
import type { Json } from "../lib/json.ts";
import { escapeKey } from "../secrecy/find.ts";
import { marker } from "../secrecy/mask.ts";
import { type CelScope, celCalls, celVariables, compileCel, ruleScope } from "./cel.ts";

type Values = Record<string, unknown>;
type Render = (context: Values, trace: Trace) => Json;

/** A value that a template computed from secrets: its JSON pointer, the secrets' names, and the text to show instead. */
export interface SecretValue {
  path: string;
  names: string[];
  shown: string;
}

/** The record of a rendering: the secrets that the current template has read, and the values computed from secrets. */
interface Trace {
  used: Set<string>;
  secrets: SecretValue[];
}

/** A template failed at rendering; the message begins with its path. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
  readonly path: string;
  constructor(path: string, cause: unknown) {
    super(`${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.path = path;
  }
}

/** Compiled templates. */
export interface Templates {
  /** The names of all secrets in the templates, including those that a rendering does not read. */
  names: string[];
  /** `read` returns a secret by its name. The result contains the secrets; `secrets` lists where, and the text to show instead. */
  render(context: Values, read: (name: string) => string): { value: Json; secrets: SecretValue[] };
}

/**
 * Compiles every `{{ CEL }}` in the strings of a JSON value (not in its keys). Rendering returns a read-only value: a string that is one
 * whole template gets the JSON type of its result; in mixed text, results become text (objects and lists as JSON). The scope's function
 * `key` reads a secret. The whole result of a template that read one is secret, because it may reveal the secret in any form. Throws
 * InvalidInputError with an issue per invalid template, and when the argument of `key` is not a literal text, because the secrets of a
 * template must be known before it runs. Rendering throws TemplateError.
 */
export function compileTemplates(value: Json, path: string, scope = ruleScope): Templates {
  const render = compileAll(value, path, scope);
  const names = [...new Set(collectKeys(value, path, scope))];
  if (!render) return { names, render: () => ({ value, secrets: [] }) };
  return {
    names,
    render: (context, read) => {
      const trace: Trace = { used: new Set(), secrets: [] };
      const key = (name: string) => {
        trace.used.add(name);
        return read(name);
      };
      return { value: render({ ...context, key }, trace), secrets: trace.secrets };
    },
  };
}

function collectKeys(value: Json, path: string, scope: CelScope): string[] {
  if (typeof value === "string") {
    if (!value.includes("{{")) return [];
    const sources = split(value, path).flatMap((part) => ("source" in part ? [part.source] : []));
    return sources
      .flatMap((source) => celCalls(source, "key", path, scope))
      .map((name) => {
        if (name === null)
          throw invalid(path, 'key() requires the ref of a key as a literal, such as key("system.token")');
        return name;
      });
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => collectKeys(item, below(path, key), scope));
}

function compileAll(value: Json, path: string, scope: CelScope): Render | null {
  const issues: Issue[] = [];
  const render = compileValue(value, { path, pointer: "" }, { scope, issues });
  if (issues.length > 0) throw new InvalidInputError(issues);
  return render;
}

/** Returns whether any template in the value uses the variable. Throws InvalidInputError for an invalid template. */
export function usesVariable(value: Json, name: string, scope = ruleScope): boolean {
  if (typeof value === "string") {
    return split(value, "").some((part) => "source" in part && celVariables(part.source, "", scope).has(name));
  }
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some((item) => usesVariable(item, name, scope));
}

interface Compilation {
  scope: CelScope;
  issues: Issue[];
}

/** The location of a template: its path for messages, and its JSON pointer within the value. */
interface Location {
  path: string;
  pointer: string;
}
const below = (path: string, key: string) => (path === "" ? key : `${path}.${key}`);

// Null: the value contains no template and is used unchanged.
function compileValue(value: Json, location: Location, compilation: Compilation): Render | null {
  if (typeof value === "string") return compileText(value, location, compilation);
  if (typeof value !== "object" || value === null) return null;
  const renders = Object.entries(value).map(([key, item]) => ({
    key,
    item,
    render: compileValue(
      item,
      { path: below(location.path, key), pointer: `${location.pointer}/${escapeKey(key)}` },
      compilation,
    ),
  }));
  if (renders.every(({ render }) => render === null)) return null;
  if (Array.isArray(value))
    return (context, trace) => renders.map(({ item, render }) => (render ? render(context, trace) : item));
  return (context, trace) =>
    Object.fromEntries(renders.map(({ key, item, render }) => [key, render ? render(context, trace) : item]));
}

function compileText(text: string, { path, pointer }: Location, { scope, issues }: Compilation): Render | null {
  if (!text.includes("{{")) return null;
  try {
    const parts = split(text, path).map((part) =>
      "text" in part ? part : { run: compileCel(part.source, path, scope) },
    );
    return (context, trace) => {
      const names = new Set<string>();
      const rendered = parts.map((part) => {
        if ("text" in part) return { value: part.text, shown: part.text };
        trace.used.clear();
        const value = runAt(path, part.run, context);
        for (const name of trace.used) names.add(name);
        return { value, shown: trace.used.size > 0 ? [...trace.used].map(marker).join("") : null };
      });
      if (names.size > 0) {
        const shown = rendered.map((part) => part.shown ?? inText(part.value)).join("");
        trace.secrets.push({ path: pointer, names: [...names], shown });
      }
      const [only] = rendered;
      return rendered.length === 1 && only ? only.value : rendered.map(({ value }) => inText(value)).join("");
    };
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    issues.push(...error.issues);
    return null;
  }
}

function runAt(path: string, run: (context: Values) => Json, context: Values): Json {
  try {
    return run(context);
  } catch (error) {
    throw new TemplateError(path, error);
  }
}

function inText(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

type Part = { text: string } | { source: string };

function split(text: string, path: string): Part[] {
  const parts: Part[] = [];
  let from = 0;
  for (let open = text.indexOf("{{"); open >= 0; open = text.indexOf("{{", from)) {
    if (open > from) parts.push({ text: text.slice(from, open) });
    const close = findClose(text, open + 2);
    if (close < 0) throw invalid(path, `the "{{" at character ${open + 1} is not closed by "}}"`);
    parts.push({ source: text.slice(open + 2, close).trim() });
    from = close + 2;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

// Returns the index of the closing braces, ignoring those in string literals and maps.
function findClose(text: string, from: number): number {
  let depth = 0;
  for (let i = from; i < text.length; i++) {
    const char = text[i];
    if (char === '"' || char === "'") i = findLiteralEnd(text, i, char);
    else if (char === "{") depth++;
    else if (char === "}" && depth > 0) depth--;
    else if (char === "}" && text[i + 1] === "}") return i;
  }
  return -1;
}

// Returns the index of the last character of the string literal whose quote is at `at`; the text's end if it is not closed.
function findLiteralEnd(text: string, at: number, quote: string): number {
  const delimiter = text.startsWith(quote.repeat(3), at) ? quote.repeat(3) : quote;
  for (let i = at + delimiter.length; i < text.length; i++) {
    // A backslash escapes the next quote, also in raw literals.
    if (text[i] === "\\") i++;
    else if (text.startsWith(delimiter, i)) return i + delimiter.length - 1;
  }
  return text.length;
}
