import { readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import type { Context } from "./context.ts";
import { UsageFailure } from "./failure.ts";
import { readInput, type Terminal } from "./terminal.ts";

/** The parameters that a schema of the API describes, by name. */
export type Schema = Readonly<Record<string, { type?: string }>>;

/** Reads a file of JSON or YAML; `-` is standard input. Throws UsageFailure when it has none. */
export async function readDocument({ terminal }: Context, file: string): Promise<unknown> {
  const text = file === "-" ? await readInput(terminal) : readText(file);
  const where = file === "-" ? "Standard input" : file;
  if (text.trim() === "") throw new UsageFailure(`${where} is empty; it must contain JSON or YAML.`);
  const { parseDocument } = await import("yaml");
  const document = parseDocument(text, { uniqueKeys: true, logLevel: "silent" });
  const [error] = document.errors;
  if (error) throw new UsageFailure(`${where} is neither JSON nor YAML: ${error.message.split("\n")[0]}`);
  return document.toJS({ maxAliasCount: 100 });
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageFailure(`The file cannot be read: ${(error as Error).message}.`, { cause: error });
  }
}

/** Reads an object from a file. */
export async function readObject(context: Context, file: string): Promise<Record<string, unknown>> {
  const value = await readDocument(context, file);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new UsageFailure(`${file === "-" ? "Standard input" : file} must contain an object: a value for each name.`);
}

/**
 * Returns the values that operands such as `message=hello` give, over those of a file. Where the schema says that a value is not a string, it is
 * read as JSON. Null if there are neither operands nor a file.
 */
export async function readValues(
  context: Context,
  pairs: readonly string[],
  file: string | undefined,
  loadSchema: () => Promise<Schema>,
): Promise<Record<string, unknown> | null> {
  if (pairs.length === 0 && file === undefined) return null;
  const schema = pairs.length > 0 ? await loadSchema() : {};
  const given = new Map<string, unknown>();
  for (const pair of pairs) {
    const [, name, text = ""] = /^([^=]+)=(.*)$/s.exec(pair) ?? [];
    if (name === undefined) throw new UsageFailure(`"${pair}" gives no value: write it as name=value.`);
    if (given.has(name)) throw new UsageFailure(`"${name}" is given twice.`);
    given.set(name, parameterOf(text, Object.hasOwn(schema, name) ? schema[name]?.type : undefined));
  }
  return { ...(file === undefined ? {} : await readObject(context, file)), ...Object.fromEntries(given) };
}

/** Text that is not JSON stays as it is: the server says what would be right. */
function parameterOf(text: string, type: string | undefined): unknown {
  if (type === "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Returns the first line of standard input. Throws UsageFailure when it is empty. */
export async function readSecretLine(terminal: Terminal, what: string): Promise<string> {
  const [line = ""] = (await readInput(terminal)).split(/\r?\n/);
  if (line === "") throw new UsageFailure(`Standard input is empty; its first line must be ${what}.`);
  return line;
}

/** Asks for a secret on the terminal, without showing what is typed. Throws UsageFailure when there is none. */
export async function askSecret(
  { stdin, stderr, signal }: Terminal,
  question: string,
  instead: string,
): Promise<string> {
  if (!stdin.isTTY) throw new UsageFailure(`There is no terminal to ask for ${question} on: ${instead}.`);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const asking = createInterface({ input: stdin, output: silent, terminal: true });
  // A terminal in this mode sends Ctrl-C as a character.
  asking.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  stderr.write(`${question}: `);
  try {
    return await asking.question("", { signal });
  } finally {
    asking.close();
    stderr.write("\n");
  }
}
