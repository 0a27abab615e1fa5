import { Argument } from "commander";
import { type Candidate, complete } from "../complete.ts";
import type { ConnectionOptions } from "../connection.ts";
import { Context } from "../context.ts";
import { define, type Group } from "../define.ts";
import { resourceOf } from "../resources.ts";
import { shells } from "../shells.ts";

/** How long a shell waits for names from the server. */
const patienceMs = 1_500;

/** Adds `completion`, and `complete`, which its scripts call. */
export function addCompletion(top: Group): void {
  define(top, {
    name: "completion",
    operands: [new Argument("<shell>", "the shell").choices(Object.keys(shells))],
    description: "print the script that lets a shell complete command lines, to be evaluated when the shell starts",
    examples: ["completion bash", "completion zsh", "completion fish"],
    run: (context, [shell = ""]) => context.write(shells[shell] ?? ""),
  });
  top.command
    .command("complete [words...]", { hidden: true })
    .description("print what the last word can become")
    .action(async (words: string[], _options, command) => {
      const context = new Context(top.terminal, command);
      const found = await complete(top.command, words, (name, prefix, options) =>
        findNames(context, name, prefix, options),
      );
      await context.write(found.map(({ value, description }) => `${value}\t${description}\n`).join(""));
    });
}

/** Returns the refs or logins of a resource that begin with a text; none where there is no server, or none that responds soon. */
async function findNames(
  context: Context,
  name: string,
  prefix: string,
  options: ConnectionOptions,
): Promise<Candidate[]> {
  const { list, type, fields, byName } = resourceOf(name);
  if (!byName) return [];
  const [, field] = byName;
  const label = /\blabel\b/.test(fields) ? "label" : "";
  const terminal = {
    ...context.terminal,
    signal: AbortSignal.any([context.terminal.signal, AbortSignal.timeout(patienceMs)]),
  };
  try {
    const { ask } = new Context(terminal, context.command, context.connectionOf(options));
    const data = await ask<Record<string, { nodes: Record<string, string | null>[] } | null>>(
      `query($where: ${type}Where) { ${list}(first: 100, where: $where) { nodes { ${field} ${label} } } }`,
      { where: { [field]: { startsWith: prefix } } },
    );
    const nodes = data[list]?.nodes ?? [];
    return nodes.map((node) => ({
      value: node[field] ?? "",
      description: (node["label"] ?? "").replaceAll(/\s+/g, " "),
    }));
  } catch {
    return []; // a shell shows no reasons
  }
}
