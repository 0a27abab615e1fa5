import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { extraOf } from "../../src/cli/define.ts";
import { commandsOf, describedProgram } from "../support/cli.ts";

const introduction = `# The command line

\`attune\` works with any server that it can reach; all commands but \`serve\`, \`link\` and \`db\` use nothing but the API. In the project's directory \`npx attune\` runs it.
This page has what its help (\`--help\` after any command) says, and is generated from it: \`npm test -- -u tests/cli/reference.test.ts\`.

## Which server, and who you are

| | address | credential |
|---|---|---|
| 1. | \`--url\` | \`--token\` |
| 2. | \`ATTUNE_URL\` | \`ATTUNE_TOKEN\` |
| 3. | the profile's | the profile's, for its own server only |
| 4. | that of a server with an embedded database, in whose directory (or with whose \`ATTUNE__DATA_DIR\`) you are | its \`credentials.json\`, for that server only |
| 5. | \`http://127.0.0.1:8080\` | none |

\`auth login\` stores a profile in \`$XDG_CONFIG_HOME/attune/config.json\` (mode 0600); \`--profile\` names another than \`default\`, and then the environment does not count. The arguments of a
process are visible to others on its machine, so secrets are read from standard input or from the environment; \`--token\` is for trying things out.

## Output and exit codes

Results go to stdout, everything else to stderr. A table is for people: it is cut to the terminal's width, and in a pipe it is plain and whole. \`--output json\` and \`--output yaml\`
print what the API returned, for programs; what comes bit by bit (\`watch\`, \`--watch\`, \`--follow\`) is one line of JSON each. Times are in UTC.

| exit code | means |
|---|---|
| 0 | it worked; or what read the output has closed it |
| 1 | it failed: refused, not found, no server; or what was waited for has not completed; \`rule lint\` or \`pack check\` has found something; tests of a pack have failed; \`db verify\` misses something |
| 2 | the command line is wrong; or there is no terminal to ask on, and no \`--yes\` |
| 130 | Ctrl-C |

\`watch\`, \`--watch\`, \`--wait\` and \`--follow\` survive a broken connection: they connect again and continue after the last message, without gaps or repetitions.

## Parameters

\`name=value\` gives a parameter. Where the action's schema (the trigger's, the inquiry's) says that it is no string, the value is read as JSON: \`seconds=2\`, \`dry_run=true\`, \`hosts='["a","b"]'\`.
A file of JSON or YAML gives many at once; single ones go before it.

## The database

\`attune db\` works with the database itself, with the settings of a server (\`ATTUNE__DATABASE__URL\`, or \`ATTUNE__DATA_DIR\` for the embedded one, from the environment or \`--settings\`).
A server migrates its database at every start, so that none of these commands is needed before the first one. They serve to do it beforehand, as another user, and to start anew:

- \`setup\` and \`create\` need the right to create databases only where the database is missing. The new one has the encoding UTF8. \`setup\` and \`migrate\` may run in several processes at once.
- An embedded database belongs to one process: while a server uses it, every command is refused. On PostgreSQL \`status\`, \`verify\` and \`migrate\` run beside servers.
- \`drop\`, \`reset\` and \`clean\` ask on a terminal; elsewhere they need \`--yes\`. \`drop\` and \`reset\` are refused while others are connected, which \`--force\` changes, and where the database has tables of something else.
  \`clean\` is refused while servers are connected. The encryption key stays; the next server deletes the files of artifacts within two hours.
- \`verify\` lists everything that the migrations create in the schema \`attune\`, and the tables of the job queue. It compares names, not definitions.
- \`status\` counts the rows of a table up to 10,000; above that it prints PostgreSQL's estimate.
- A database that a newer version has migrated is refused by all but \`drop\` and \`reset\`.

## Completion

\`\`\`sh
eval "$(attune completion bash)"       # in ~/.bashrc
eval "$(attune completion zsh)"        # in ~/.zshrc, after compinit
attune completion fish | source        # in ~/.config/fish/config.fish
\`\`\`

Refs are completed too, if the server responds within a second and a half.
`;

const rows = (head: string, list: readonly { term: string; description: string }[]): string =>
  list.length === 0
    ? ""
    : `| ${head} | |\n|---|---|\n${list.map(({ term, description }) => `| \`${term.replaceAll("|", "\\|")}\` | ${description.replaceAll("|", "\\|")} |\n`).join("")}\n`;

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;

function sectionOf({ command, path }: { command: Command; path: string[] }): string {
  const help = command.createHelp();
  const options = help.visibleOptions(command).map((option) => ({
    term: help.optionTerm(option),
    description: help.optionDescription(option),
  }));
  const operands = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  const examples = extraOf(command).examples.map((example) => `attune ${example}\n`);
  return [
    `${"#".repeat(Math.max(2, path.length + 1))} \`${["attune", ...path, ...operands].join(" ")}\`\n\n`,
    `${sentence(command.description())}\n\n`,
    `\`\`\`sh\n${examples.join("")}\`\`\`\n\n`,
    command.commands.length > 0 && path.length > 0
      ? ""
      : rows(
          "option",
          options.filter(({ term }) => term !== "--help"),
        ),
  ].join("");
}

describe("docs/cli.md", () => {
  test("has what the help says", async () => {
    const commands = commandsOf(describedProgram());
    const text = `${introduction}\n${commands.map(sectionOf).join("")}`.trimEnd();
    await expect(`${text}\n`).toMatchFileSnapshot("../../docs/cli.md");
  });
});
