import { PlanError, type Runner, runtimeOfScript } from "./discover.ts";

/** A program that runs tests, and where its report is. */
export interface Command {
  /** The runtime whose interpreter runs the arguments; null: the first argument is the program. */
  runtime: string | null;
  args: string[];
  /** What has the report: the standard output, both outputs, or a file that the program writes. */
  report: "stdout" | "both" | { file: string };
}

/** The files that pytest and Jest write their reports to, in the copy of the pack. */
const reportFile = ".attune-report.xml";
const jestFile = ".attune-report.json";

/** Returns the commands of a runner, one after the other, for its files. `directory` has the pack's files. Throws PlanError. */
export async function commandsOf(runner: Runner, entries: readonly string[], directory: string): Promise<Command[]> {
  const { type, result_format: format } = runner;
  switch (type) {
    case "script":
      return await Promise.all(
        entries.map(async (entry): Promise<Command> => {
          const runtime = await runtimeOfScript(directory, entry);
          return { runtime, args: [runtime === null ? `./${entry}` : entry], report: "stdout" };
        }),
      );
    case "unittest":
      return unittest(entries);
    case "pytest": {
      const args = ["-m", "pytest", "-p", "no:cacheprovider", "--color=no"];
      return format === "junit-xml"
        ? [{ runtime: python, args: [...args, `--junit-xml=${reportFile}`, ...entries], report: { file: reportFile } }]
        : [{ runtime: python, args: [...args, ...entries], report: "both" }];
    }
    case "node": {
      const reporter = format === "junit-xml" ? "junit" : "tap";
      const args = ["--test", `--test-reporter=${reporter}`, "--test-reporter-destination=stdout", ...entries];
      return [{ runtime: "core.action.nodejs", args, report: "stdout" }];
    }
    case "jest": {
      const program = "node_modules/jest/bin/jest.js";
      const args = [program, "--ci", "--json", `--outputFile=${jestFile}`, "--runTestsByPath", ...entries];
      return [{ runtime: "core.action.nodejs", args, report: { file: jestFile } }];
    }
    default:
      throw new PlanError(`There is no type of runner "${type satisfies never}".`);
  }
}

const python = "core.action.python";

/** Directories are searched one by one: each is the root of its modules. */
function unittest(entries: readonly string[]): Command[] {
  const files = entries.filter((entry) => entry.endsWith(".py"));
  const folders = entries.filter((entry) => !entry.endsWith(".py"));
  const args = ["-m", "unittest", "-v"];
  return [
    ...(files.length > 0 ? [[...args, ...files]] : []),
    ...folders.map((folder) => ["-m", "unittest", "discover", "-v", "-s", folder]),
  ].map((each) => ({ runtime: python, args: each, report: "both" as const }));
}
