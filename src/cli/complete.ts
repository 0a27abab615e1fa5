import type { Command, Option } from "commander";
import type { ConnectionOptions } from "./connection.ts";
import { extraOf, namesOf } from "./define.ts";

/** Something that a word of the command line can become. */
export interface Candidate {
  value: string;
  description: string;
}

/** Returns the names of a resource that begin with a text. */
export type FindNames = (resource: string, prefix: string, options: ConnectionOptions) => Promise<Candidate[]>;

/** Returns what the last of the words can become, after the others. */
export async function complete(program: Command, words: readonly string[], findNames: FindNames): Promise<Candidate[]> {
  const before = words.slice(0, -1);
  const last = words.at(-1) ?? "";
  const state = read(program, before);
  const names = (resource: string | undefined, prefix: string) =>
    resource === undefined ? [] : findNames(resource, prefix, state.options);
  const found = await candidatesFor(state, last, names);
  return found.filter(({ value }) => value.startsWith(last) && isPlain(value));
}

/** What a shell would read as something else is not offered, wherever it is from. */
const isPlain = (value: string) => /^[\w.:@/=+-]+$/.test(value);

interface State {
  command: Command;
  /** The number of operands after the command. */
  operands: number;
  /** The option whose value comes next. */
  pending: Option | null;
  /** Whether options are over (`--`). */
  isLiteral: boolean;
  /** The options that name a server. */
  options: Record<string, string>;
}

function read(program: Command, words: readonly string[]): State {
  const state: State = { command: program, operands: 0, pending: null, isLiteral: false, options: {} };
  for (const word of words) {
    if (state.pending) {
      state.options[state.pending.attributeName()] = word;
      state.pending = null;
    } else if (state.isLiteral) state.operands += 1;
    else if (word === "--") state.isLiteral = true;
    else if (word.startsWith("-")) readFlag(state, word);
    else readOperand(state, word);
  }
  return state;
}

function readFlag(state: State, word: string): void {
  const [flag, value] = word.split(/=(.*)/s);
  const option = optionsOf(state.command).find(({ long }) => long === flag);
  if (!option || option.isBoolean()) return;
  if (value === undefined) state.pending = option;
  else state.options[option.attributeName()] = value;
}

function readOperand(state: State, word: string): void {
  const below = state.operands === 0 ? state.command.commands.find((one) => one.name() === word) : undefined;
  if (below) state.command = below;
  else state.operands += 1;
}

/** The options of a command and of those above it. */
const optionsOf = (command: Command): Option[] => [
  ...command.options,
  ...(command.parent ? optionsOf(command.parent) : []),
];

type Names = (resource: string | undefined, prefix: string) => Promise<Candidate[]> | Candidate[];

async function candidatesFor(state: State, last: string, names: Names): Promise<Candidate[]> {
  const { command, pending } = state;
  if (pending) return await valuesOf(pending, last, names);
  if (last.startsWith("-") && !state.isLiteral) {
    const [flag = "", value] = last.split(/=(.*)/s);
    if (value === undefined) return flagsOf(command);
    const option = optionsOf(command).find((one) => one.long === flag);
    const values = option ? await valuesOf(option, value, names) : [];
    return values.map((candidate) => ({ ...candidate, value: `${flag}=${candidate.value}` }));
  }
  if (command.commands.length > 0) {
    const visible = command.createHelp().visibleCommands(command);
    return visible.map((below) => ({ value: below.name(), description: below.description() }));
  }
  return state.operands === 0 ? await names(extraOf(command).names, last) : [];
}

const flagsOf = (command: Command): Candidate[] =>
  [...optionsOf(command), ...command.createHelp().visibleOptions(command)]
    .filter(({ hidden }) => !hidden)
    .map(({ long, description }) => ({ value: long ?? "", description }))
    .filter(({ value }, i, all) => value !== "" && all.findIndex((one) => one.value === value) === i);

const valuesOf = async (option: Option, prefix: string, names: Names): Promise<Candidate[]> =>
  option.argChoices?.map((value) => ({ value, description: "" })) ?? (await names(namesOf(option), prefix));
