import type { Command } from "commander";
import { type Ask, createAsk } from "./client.ts";
import { type Connection, type ConnectionOptions, findConnection } from "./connection.ts";
import { follow, type Message, type Subscription } from "./follow.ts";
import { type Column, cellOf, Table } from "./table.ts";
import { type Terminal, withoutControls, write } from "./terminal.ts";

/** The options that every command takes. */
export interface GlobalOptions extends ConnectionOptions {
  output: "table" | "json" | "yaml";
  verbose?: boolean;
}

/** What a command works with: the server, and the ways to print. */
export class Context {
  readonly terminal: Terminal;
  readonly command: Command;
  readonly options: GlobalOptions;
  #connection: Connection | null;
  #table: Table | null = null;

  constructor(terminal: Terminal, command: Command, connection: Connection | null = null) {
    this.terminal = terminal;
    this.#connection = connection;
    this.command = command;
    this.options = command.optsWithGlobals<GlobalOptions>();
  }

  /** The server that the options, the environment or a profile name. */
  get connection(): Connection {
    this.#connection ??= this.connectionOf(this.options);
    return this.#connection;
  }

  /** The server that other options would name. */
  connectionOf(options: ConnectionOptions): Connection {
    return findConnection(options, this.terminal.env);
  }

  /** Asks the server; the first refusal or error ends the command. */
  readonly ask: Ask = (document, variables) =>
    createAsk(this.connection, this.terminal.signal, (name, ms, status) => {
      if (this.options.verbose) this.terminal.stderr.write(`${name}: status ${status}, ${Math.round(ms)} ms\n`);
    })(document, variables);

  /** Yields the messages of a subscription. Says when the connection breaks, by default on stderr. */
  follow<T extends Message>(
    subscription: Subscription,
    say: (text: string) => void = (text) => this.note(text),
  ): AsyncGenerator<T> {
    return follow<T>(this.connection, subscription, {
      signal: this.terminal.signal,
      onBreak: (reason) => say(`The connection was lost (${reason}): connecting again …`),
    });
  }

  /** Writes text to stdout. */
  write(text: string): Promise<void> {
    return write(this.terminal.stdout, text, this.terminal.signal);
  }

  /** Writes a remark for people to stderr, which a program's reader of stdout does not see. */
  note(text: string): void {
    this.terminal.stderr.write(`${withoutControls(text)}\n`);
  }

  /** Prints rows: a table, or an array for programs. */
  async printRows(rows: readonly unknown[], columns: readonly Column[], none: string): Promise<void> {
    if (this.options.output !== "table") return await this.printValue(rows);
    if (rows.length === 0) return this.note(none);
    const table = this.#newTable(columns);
    await this.write((await table.head(rows, this.#isTerminal)) + (await table.body(rows)));
  }

  /** Prints one row: a table, or an object for programs. */
  async printOne(row: unknown, columns: readonly Column[]): Promise<void> {
    await (this.options.output === "table" ? this.printRows([row], columns, "") : this.printValue(row));
  }

  /** Prints one of many rows that come one after another: a line of a table, a line of JSON, or a document of YAML. */
  async printNext(row: unknown, columns: readonly Column[]): Promise<void> {
    const { output } = this.options;
    if (output === "json") return await this.write(`${toJson(row)}\n`);
    if (output === "yaml") return await this.write(`---\n${await toYaml(row)}`);
    const first = this.#table === null;
    this.#table ??= this.#newTable(columns);
    await this.write((first ? await this.#table.head([row], this.#isTerminal) : "") + (await this.#table.body([row])));
  }

  /** Prints an object with a line for each field that has a value; for programs as it is. */
  async printObject(object: Record<string, unknown>): Promise<void> {
    if (this.options.output !== "table") return await this.printValue(object);
    const fields = Object.entries(object).filter(([, value]) => !isEmpty(value));
    const width = Math.max(...fields.map(([name]) => name.length + 2));
    const lines = await Promise.all(
      fields.map(async ([name, found]) => {
        const value = withoutShell(found);
        const head = `${name}:`.padEnd(width);
        if (!isNested(value) && !(typeof value === "string" && value.includes("\n")))
          return `${head}${cellOf(value)}\n`;
        const text = typeof value === "string" ? withoutControls(value) : await toYaml(value);
        const indented = text.trimEnd().replaceAll("\n", "\n  ");
        return `${name}:\n  ${indented}\n`;
      }),
    );
    await this.write(lines.join(""));
  }

  /** Prints a value for programs. */
  async printValue(value: unknown): Promise<void> {
    const { output } = this.options;
    await this.write(output === "yaml" ? await toYaml(value) : `${toJson(value, 2)}\n`);
  }

  get #isTerminal(): boolean {
    return this.terminal.stdout.isTTY === true;
  }

  /** Lines are cut to the width of a terminal that has one; in a pipe nothing is. */
  #newTable(columns: readonly Column[]): Table {
    return new Table(columns, this.#isTerminal ? this.terminal.stdout.columns || null : null);
  }
}

const isEmpty = (value: unknown) =>
  value === null || value === undefined || (typeof value === "object" && Object.keys(value).length === 0);

/** An object that only names another is shown as that name. */
function withoutShell(value: unknown): unknown {
  const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
  const [key, name] = entries.length === 1 ? (entries[0] ?? []) : [];
  return ["id", "ref", "login"].includes(key ?? "") ? name : value;
}

const isNested = (value: unknown) =>
  typeof value === "object" && value !== null && !(Array.isArray(value) && value.every((x) => typeof x !== "object"));

/** Control characters are escaped, also those that JSON allows. */
const toJson = (value: unknown, indent?: number) =>
  JSON.stringify(value, null, indent).replaceAll(
    /[\u007f-\u009f]/g,
    (character) => `\\u00${character.charCodeAt(0).toString(16)}`,
  );

async function toYaml(value: unknown): Promise<string> {
  const { stringify } = await import("yaml");
  return withoutControls(stringify(value, { lineWidth: 0 }));
}
