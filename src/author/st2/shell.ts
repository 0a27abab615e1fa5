import { type Expr, Inexpressible, type Part } from "./jinja.ts";

/** A command line whose values are variables of the shell: `{ value }` is expanded as the variable with that number, from 1 on. */
export type ShellPart = { text: string } | { value: number } | { test: Expr; yes: ShellPart[]; no: ShellPart[] };

/** A command line, and the expressions of its values in the order of their numbers. */
export interface ShellTemplate {
  parts: ShellPart[];
  values: Expr[];
}

type Quoting = "plain" | "double" | "single" | "comment";

/**
 * Programs that run a part of their arguments as code: a value among them would be code again. `[[`, `((` and heredocs evaluate or quote
 * what they contain in ways of their own.
 */
const interpreters =
  /(?:^|[\s;|&(`"'/])(eval|source|\.|trap|let|declare|typeset|local|sh|bash|dash|ash|ksh|zsh|fish|su|ssh|xargs|parallel|watch|find|[gmn]?awk|sed|perl|ruby|python[\d.]*|node|php|lua|expect|tclsh|pwsh|powershell)(?=[\s;|&)"']|$)/;
const ownSyntax = /\[\[|\(\(|<<|`|\$\{|\$["']/;
/** What precedes the name of a command. */
const commandPosition =
  /(?:^|[;|&(\n{!]|\b(?:then|do|else|elif|if|while|until|sudo|exec|nohup|env|time|command|nice|timeout))\s*$/;

/**
 * Replaces the values of a command line by variables, so that no value becomes code: quotes around a value remain what they are, and a value
 * without quotes is split into words, as StackStorm's shell did. Throws Inexpressible where that cannot be.
 */
export function shellTemplateOf(parts: readonly Part[]): ShellTemplate {
  const values: Expr[] = [];
  const text = parts.map(textOf).join("");
  if (values.length === 0 && parts.every((part) => "text" in part)) return { parts: parts as ShellPart[], values };
  const interpreter = interpreters.exec(text)?.[1];
  if (interpreter !== undefined)
    throw new Inexpressible(`${interpreter} may run its arguments as code, so no value can be among them`);
  const syntax = ownSyntax.exec(text)?.[0];
  if (syntax !== undefined) throw new Inexpressible(`a command line with ${syntax} cannot contain values`);
  const state: State = { quoting: "plain", before: "" };
  const converted = walk(parts, state, values);
  if (state.quoting !== "plain" && state.quoting !== "comment")
    throw new Inexpressible("a quote of the command line is not closed");
  return { parts: converted, values };
}

/** The text of a part with a placeholder for each value. */
function textOf(part: Part): string {
  if ("text" in part) return part.text;
  return "value" in part ? "\u0001" : [...part.yes, ...part.no].map(textOf).join("");
}

interface State {
  quoting: Quoting;
  /** What the command line has been up to here. */
  before: string;
}

function walk(parts: readonly Part[], state: State, values: Expr[]): ShellPart[] {
  return parts.flatMap((part): ShellPart[] => {
    if ("text" in part) {
      advance(state, part.text);
      return [part];
    }
    if ("value" in part) return inserted(part.value, state, values);
    const [yes, no] = [{ ...state }, { ...state }];
    const branches = { yes: walk(part.yes, yes, values), no: walk(part.no, no, values) };
    if (yes.quoting !== no.quoting) throw new Inexpressible("a quote begins or ends in one branch of a condition only");
    // The branch with less before it is the one that could leave a value as the name of a command.
    Object.assign(state, no.before.trim() === "" || commandPosition.test(no.before) ? no : yes);
    return [{ test: part.test, ...branches }];
  });
}

function inserted(value: Expr, state: State, values: Expr[]): ShellPart[] {
  const { quoting, before } = state;
  if (value.op === "value") {
    const text = String(value.value ?? "");
    if (!/^[\w./:=@,+-]*$/.test(text))
      throw new Inexpressible("a constant of the command line has characters of the shell");
    advance(state, text);
    return [{ text }];
  }
  if (quoting === "comment") throw new Inexpressible("a value is in a comment of the command line");
  if (before.endsWith("$")) throw new Inexpressible("a value follows an escape of the shell");
  if (quoting !== "single" && commandPosition.test(before.replace(/["']$/, "")))
    throw new Inexpressible("a value is the name of a command");
  values.push(value);
  state.before += "\u0001";
  const variable: ShellPart = { value: values.length };
  return quoting === "single" ? [{ text: `'"` }, variable, { text: `"'` }] : [variable];
}

function advance(state: State, text: string): void {
  for (let i = 0; i < text.length; i++) {
    const char = text[i] ?? "";
    if (char === "\\" && state.quoting !== "single") {
      state.before += char;
      i += 1;
      if (i >= text.length) throw new Inexpressible("a value follows an escape of the shell");
    } else {
      if (state.quoting === "double" && text.startsWith("$(", i))
        throw new Inexpressible("a command line with $( in quotes cannot contain values");
      state.quoting = quotingAfter(state, char);
    }
    state.before += text[i] ?? "";
  }
}

function quotingAfter({ quoting, before }: State, char: string): Quoting {
  switch (quoting) {
    case "single":
      return char === "'" ? "plain" : quoting;
    case "double":
      return char === '"' ? "plain" : quoting;
    case "comment":
      return char === "\n" ? "plain" : quoting;
    default:
      if (char === "'") return "single";
      if (char === '"') return "double";
      return char === "#" && /(^|\s)$/.test(before) ? "comment" : quoting;
  }
}

/** Returns the text of a command line without conditions, with its values written by `variable`. Throws Inexpressible for conditions. */
export function scriptOf({ parts }: ShellTemplate, variable: (number: number) => string): string {
  return parts
    .map((part) => {
      if ("text" in part) return part.text;
      if ("value" in part) return variable(part.value);
      throw new Inexpressible("a condition in a command line has no counterpart in a rule");
    })
    .join("");
}
