import { InvalidInputError, type Issue, invalid } from "../errors.ts";
import type { Json } from "../lib/json.ts";
import type { Parameter, ParameterMap } from "../schema/parameter.ts";
import { escapeKey } from "../secrecy/find.ts";
import { marker } from "../secrecy/mask.ts";
import { celMembers, celVariables, compileCel, ruleScope } from "./cel.ts";
import { createMeter, type Meter } from "./meter.ts";

type Values = Record<string, unknown>;
type Render = (context: Values, reading: Reading) => Json;

/** A text that a template made of secrets: its JSON pointer, the secrets' names, and the text to show instead. */
export interface SecretValue {
  path: string;
  names: string[];
  shown: string;
}

/** A text with secrets in templates: its path for messages, its JSON pointer, the secrets' names, and how many times it has one. */
export interface SecretPlace {
  path: string;
  pointer: string;
  names: string[];
  uses: number;
}

/** One rendering: how it reads a secret, the texts that it made of secrets, and the budget that all templates share. */
interface Reading {
  meter: Meter;
  read: (name: string) => string;
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
  /** The names of all secrets in the templates. */
  names: string[];
  /** Every text that contains secrets: see `requireSecretPlaces`. */
  places: SecretPlace[];
  /** `read` returns a secret by its name. The result contains the secrets; `secrets` lists where, and the text to show instead. */
  render(context: Values, read: (name: string) => string, meter?: Meter): { value: Json; secrets: SecretValue[] };
}

/**
 * Compiles every `{{ CEL }}` in the strings of a JSON value (not in its keys). Rendering returns a read-only value: a string that is one
 * whole template gets the JSON type of its result; in mixed text, results become text (objects and lists as JSON). `{{ key("ref") }}` is
 * not CEL: it inserts a secret's text unchanged, and no expression can reach it. The same holds for `{{ pack.config.name }}` where the
 * `settings` of the pack declare it secret. Throws InvalidInputError with an issue per invalid template. Rendering throws TemplateError.
 */
export function compileTemplates(value: Json, path: string, settings: ParameterMap = {}): Templates {
  const compilation: Compilation = { issues: [], places: [], settings };
  const render = compileValue(value, { path, pointer: "" }, compilation);
  const { issues, places } = compilation;
  if (issues.length > 0) throw new InvalidInputError(issues);
  return {
    names: [...new Set(places.flatMap(({ names }) => names))],
    places,
    render: (context, read, meter = createMeter()) => {
      const reading: Reading = { read, secrets: [], meter };
      return { value: render ? render(context, reading) : value, secrets: reading.secrets };
    },
  };
}

/** Returns whether any template in the value uses the variable. Throws InvalidInputError for an invalid template. */
export function usesVariable(value: Json, name: string): boolean {
  if (typeof value === "string") {
    return split(value, "", {}).some((part) => "source" in part && celVariables(part.source, "", ruleScope).has(name));
  }
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some((item) => usesVariable(item, name));
}

/** Returns every chain of members in the value's templates, with the path of its text. Throws InvalidInputError for an invalid template. */
export function templateMembers(value: Json, path: string): { path: string; chain: string[] }[] {
  if (typeof value === "string") {
    return split(value, path, {}).flatMap((part) =>
      "source" in part ? celMembers(part.source, path).map((chain) => ({ path, chain })) : [],
    );
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => templateMembers(item, below(path, key)));
}

interface Compilation {
  issues: Issue[];
  places: SecretPlace[];
  settings: ParameterMap;
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
    return (context, reading) => renders.map(({ item, render }) => (render ? render(context, reading) : item));
  return (context, reading) =>
    Object.fromEntries(renders.map(({ key, item, render }) => [key, render ? render(context, reading) : item]));
}

function compileText(
  text: string,
  { path, pointer }: Location,
  { issues, places, settings }: Compilation,
): Render | null {
  if (!text.includes("{{")) return null;
  try {
    const parts = split(text, path, settings).map((part) =>
      "source" in part ? { run: compileExpression(part.source, path, settings) } : part,
    );
    const used = parts.flatMap((part) => ("secret" in part ? [part.secret] : []));
    const names = [...new Set(used)];
    if (names.length > 0) places.push({ path, pointer, names, uses: used.length });
    return (context, { read, secrets, meter }) => {
      const rendered = parts.map((part) => {
        if ("text" in part) return { value: part.text, shown: part.text };
        if ("secret" in part) return { value: runAt(path, () => read(part.secret)), shown: marker(part.secret) };
        const value = runAt(path, () => part.run(context, meter));
        return { value, shown: inText(value) };
      });
      if (names.length > 0) {
        secrets.push({ path: pointer, names, shown: rendered.map(({ shown }) => shown).join("") });
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

function compileExpression(source: string, path: string, settings: ParameterMap): ReturnType<typeof compileCel> {
  const run = compileCel(source, path, ruleScope);
  if (Object.keys(settings).length === 0) return run;
  const secret = celMembers(source, path).find((chain) => secretSetting(chain, settings) !== null);
  if (!secret) return run;
  const name = secret.join(".");
  throw invalid(
    path,
    `${name} is secret and cannot be part of an expression: it is a template of its own, {{ ${name} }}`,
  );
}

function runAt(path: string, run: () => Json): Json {
  try {
    return run();
  } catch (error) {
    throw new TemplateError(path, error);
  }
}

function inText(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

type Part = { text: string } | { source: string } | { secret: string };

/** A template that is a key and nothing else; `cel-ast.ts` refuses the function in every expression. */
const keyTemplate = /^key\(\s*(?:"([^"\\]+)"|'([^'\\]+)')\s*\)$/;

/** A template that is a setting and nothing else. */
const settingTemplate = /^pack\.config(?:\.[A-Za-z_]\w*|\["[^"\\]+"\]|\['[^'\\]+'\]|\[\d+\])+$/;

function readSource(source: string, settings: ParameterMap): Part {
  const [, double, single] = keyTemplate.exec(source) ?? [];
  const chain = settingTemplate.test(source) ? (source.match(/[\w-]+/g) ?? []) : [];
  const secret = double ?? single ?? secretSetting(chain, settings);
  return secret === null ? { source } : { secret };
}

const settingPrefix = "config.";

/** Returns the name of the secret setting that a chain of members reads; null for anything else. */
function secretSetting([variable, field, ...names]: readonly string[], settings: ParameterMap): string | null {
  if (variable !== "pack" || field !== "config") return null;
  let parameter: Parameter | undefined = { type: "object", properties: settings };
  for (const name of names) parameter = parameter?.properties ? parameter.properties[name] : parameter?.items;
  return parameter?.secret ? settingPrefix + names.join(".") : null;
}

/** Returns the JSON pointer of the secret setting with this name, within the settings; null for the name of a key. */
export function settingPointer(name: string): string | null {
  return name.startsWith(settingPrefix) ? `/${name.slice(settingPrefix.length).replaceAll(".", "/")}` : null;
}

function split(text: string, path: string, settings: ParameterMap): Part[] {
  const parts: Part[] = [];
  let from = 0;
  for (let open = text.indexOf("{{"); open >= 0; open = text.indexOf("{{", from)) {
    if (open > from) parts.push({ text: text.slice(from, open) });
    const close = findClose(text, open + 2);
    if (close < 0) throw invalid(path, `the "{{" at character ${open + 1} is not closed by "}}"`);
    parts.push(readSource(text.slice(open + 2, close).trim(), settings));
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
