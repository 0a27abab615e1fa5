import { InvalidInputError, type Issue, invalid } from "../errors.ts";
import { type CelScope, celVariables, compileCel, ruleScope } from "./cel.ts";
import type { Json } from "./json.ts";

type Context = Record<string, unknown>;
type Render = (context: Context) => Json;

/** A template failed while it was rendered; the message begins with its path. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
  readonly path: string;
  constructor(path: string, cause: unknown) {
    super(`${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.path = path;
  }
}

/**
 * Compiles every `{{ CEL }}` in the strings of a JSON value (keys are left alone). Rendering gives a value to be treated as
 * read-only: a string that is one whole template keeps the JSON type of its result, in mixed text results become text (objects and
 * lists as JSON). Throws InvalidInputError with an issue per template that cannot be compiled; rendering throws TemplateError.
 */
export function compileTemplates(value: Json, path: string, scope = ruleScope): (context: Context) => Json {
  const issues: Issue[] = [];
  const render = compileValue(value, path, { scope, issues });
  if (issues.length > 0) throw new InvalidInputError(issues);
  return render ?? (() => value);
}

/** Whether any template in the value mentions the variable. Throws InvalidInputError when a template cannot be compiled. */
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

// Null means that nothing in the value is a template: it is used as it stands.
function compileValue(value: Json, path: string, compilation: Compilation): Render | null {
  if (typeof value === "string") return compileText(value, path, compilation);
  if (typeof value !== "object" || value === null) return null;
  const renders = Object.entries(value).map(([key, item]) => ({
    key,
    item,
    render: compileValue(item, path === "" ? key : `${path}.${key}`, compilation),
  }));
  if (renders.every(({ render }) => render === null)) return null;
  if (Array.isArray(value)) return (context) => renders.map(({ item, render }) => (render ? render(context) : item));
  return (context) =>
    Object.fromEntries(renders.map(({ key, item, render }) => [key, render ? render(context) : item]));
}

function compileText(text: string, path: string, { scope, issues }: Compilation): Render | null {
  if (!text.includes("{{")) return null;
  try {
    const parts = split(text, path).map((part) =>
      "text" in part ? part : { run: compileCel(part.source, path, scope) },
    );
    const [only] = parts;
    const evaluate: Render =
      parts.length === 1 && only && "run" in only
        ? only.run
        : (context) => parts.map((part) => ("text" in part ? part.text : inText(part.run(context)))).join("");
    return (context) => {
      try {
        return evaluate(context);
      } catch (error) {
        throw new TemplateError(path, error);
      }
    };
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    issues.push(...error.issues);
    return null;
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

// The index of the closing braces: those of string literals and of maps inside the expression do not count.
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

// The index of the last character of the string literal whose quote stands at `at`; the text's end when it is not closed.
function findLiteralEnd(text: string, at: number, quote: string): number {
  const delimiter = text.startsWith(quote.repeat(3), at) ? quote.repeat(3) : quote;
  for (let i = at + delimiter.length; i < text.length; i++) {
    // In raw literals too, a backslash keeps the quote behind it from closing.
    if (text[i] === "\\") i++;
    else if (text.startsWith(delimiter, i)) return i + delimiter.length - 1;
  }
  return text.length;
}
