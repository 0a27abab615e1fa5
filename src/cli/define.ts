import { type Argument, type Command, InvalidArgumentError, Option } from "commander";
import { Context } from "./context.ts";
import type { Terminal } from "./terminal.ts";

/** A command that does something. */
export interface Definition<O> {
  /** Its name and operands, such as `show <ref>`. */
  name: string;
  description: string;
  /** Operands that `name` cannot describe, such as those with choices. */
  operands?: readonly Argument[];
  options?: readonly Option[];
  /** What follows the group's name, for its help: each must run. */
  examples: readonly string[];
  /** The resource whose refs complete its operand. */
  names?: string;
  /** Whether it runs when its group is called alone. */
  isDefault?: boolean;
  /** Returns the exit code, if it is not 0. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most commands return nothing.
  run(context: Context, operands: string[], options: O): Promise<number | void>;
}

/** What completion and the documents know of a command beyond what commander does. */
export interface Extra {
  examples: readonly string[];
  /** The resource whose refs complete its operand. */
  names?: string;
}

const extras = new WeakMap<Command, Extra>();
const namesOfOptions = new WeakMap<Option, string>();

/** Returns what was defined with the command. */
export const extraOf = (command: Command): Extra => extras.get(command) ?? { examples: [] };

/** Returns the resource whose refs complete an option. */
export const namesOf = (option: Option): string | undefined => namesOfOptions.get(option);

/** Hears of the exit code of the command that ran. */
export type Finish = (code: number) => void;

/** Adds a command to its group. Its help ends with its examples. */
export function define<O extends object = object>(
  { command: parent, path, terminal, finish }: Group,
  { name, description, operands = [], options = [], examples, names, isDefault = false, run }: Definition<O>,
): Command {
  const command = parent.command(name, { isDefault }).description(description);
  for (const operand of operands) command.addArgument(operand);
  for (const option of options) command.addOption(option);
  addExamples(
    command,
    examples.map((example) => path + example),
    names,
  );
  return command.action(async () => {
    const code = await run(new Context(terminal, command), command.args, command.opts<O>());
    finish(code ?? 0);
  });
}

/** What commands are added to. */
export interface Group {
  command: Command;
  /** What precedes its commands in examples, such as `auth token `. */
  path: string;
  terminal: Terminal;
  finish: Finish;
}

/** Adds a group of commands with an example, `attune <path> <example>`. */
export function addGroup(above: Group, name: string, description: string, example: string): Group {
  const command = above.command.command(name).description(description).helpCommand(false);
  addExamples(command, [`${above.path}${name} ${example}`]);
  return groupOf(above, name);
}

/** Returns a group that was added before. */
export function groupOf(above: Group, name: string): Group {
  const command = above.command.commands.find((one) => one.name() === name);
  if (!command) throw new Error(`there is no group "${name}"`);
  return { ...above, command, path: `${above.path}${name} ` };
}

/** Adds examples to a command's help. */
export function addExamples(command: Command, examples: readonly string[], names?: string): void {
  extras.set(command, { examples, ...(names === undefined ? {} : { names }) });
  const lines = examples.map((example) => `  $ attune ${example}`);
  command.addHelpText("after", `\n${lines.length === 1 ? "Example" : "Examples"}:\n${lines.join("\n")}`);
}

/** Returns an option; `names` is the resource whose refs complete it. */
export function option(flags: string, description: string, names?: string): Option {
  const made = new Option(flags, description);
  if (names !== undefined) namesOfOptions.set(made, names);
  return made;
}

/** Returns an option whose value is a whole number above 0. */
export function countOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string) => {
    const count = Number(text);
    if (!Number.isSafeInteger(count) || count < 1) throw new InvalidArgumentError("It must be a whole number above 0.");
    return count;
  });
}
