import type { Context } from "../context.ts";
import { define, type Group, groupOf, option } from "../define.ts";
import { Failure, UsageFailure } from "../failure.ts";
import type { Message } from "../follow.ts";
import { readDocument } from "../input.ts";

const counts = "events matches errors starts liveMatches gained lost enforced";
const differenceColumns = [
  ["EVENT", "event"],
  ["KIND", "kind"],
  ["PARAMETERS", "parameters"],
  ["ERROR", "parametersError"],
] as const;

interface Report extends Message {
  complete: boolean;
  truncated: boolean;
  upTo: string | null;
  events: number;
  differences: object[];
}

/** Adds `rule backtest`. */
export function addBacktest(above: Group): void {
  define<{ draft?: string; from?: string; to?: string; sample?: string }>(groupOf(above, "rule"), {
    name: "backtest <ref>",
    description: "evaluate a rule over stored events, and compare it with the rule as it is; nothing is started",
    options: [
      option("--draft <file>", "a rule's file with other conditions or action_params; - is standard input"),
      option("--from <time>", "events since then, such as 2026-03-01T00:00:00Z; by default since a day before --to"),
      option("--to <time>", "events before then; by default before now"),
      option("--sample <share>", "the share of the events to evaluate, such as 0.1; by default all"),
    ],
    examples: ["backtest default.greet", "backtest default.greet --sample 0.5 --output json"],
    names: "rule",
    run: async (context, [rule = ""], { draft, from, to, sample }) => {
      const input = {
        ...{ rule, from: timeOf("--from", from), to: timeOf("--to", to), sample: shareOf(sample) },
        ...(draft === undefined ? {} : draftOf(await readDocument(context, draft))),
      };
      const { last, differences } = await follow(context, input);
      const { cursor: _cursor, complete: _complete, differences: _differences, ...found } = last;
      if (context.options.output !== "table") return await context.printValue({ ...found, differences });
      await context.printObject(found);
      if (differences.length > 0) await context.printRows(differences, differenceColumns, "");
    },
  });
}

async function follow(context: Context, input: object): Promise<{ last: Report; differences: object[] }> {
  const document = `subscription($input: RuleBacktestInput!, $after: Cursor) { ruleBacktest(input: $input, after: $after) {
    cursor complete truncated upTo ${counts} differences { event kind parameters parametersError } } }`;
  const differences: object[] = [];
  let last: Report | null = null;
  for await (const report of context.follow<Report>({ document, variables: { input }, after: null })) {
    differences.push(...report.differences);
    if (!report.complete && context.terminal.stderr.isTTY) context.note(`${report.events} events …`);
    last = report;
  }
  if (last === null) throw new Failure("The server ended the back-test without a result.");
  return { last, differences };
}

function timeOf(name: string, text: string | undefined): string | null {
  if (text === undefined) return null;
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) {
    throw new UsageFailure(`${name} "${text}" is no time: write it as 2026-03-01T00:00:00Z.`);
  }
  return time.toISOString();
}

function shareOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const share = Number(text);
  if (share > 0 && share <= 1) return share;
  throw new UsageFailure(`--sample "${text}" must be a number above 0 and at most 1, such as 0.1.`);
}

/** Returns the contents that a rule's file gives, as the API takes them. */
function draftOf(file: unknown): object {
  if (typeof file !== "object" || file === null || Array.isArray(file)) {
    throw new UsageFailure("The draft must be an object with conditions or action_params, like the file of a rule.");
  }
  const { condition, conditions, action_params: actionParams } = file as Record<string, unknown>;
  return { condition: upper(condition), conditions: toInput(conditions), actionParams };
}

const upper = (value: unknown) => (typeof value === "string" ? value.toUpperCase() : value);

/** The API has the names of operators in capitals. What a condition compares with stays as it is. */
function toInput(conditions: unknown): unknown {
  if (Array.isArray(conditions)) return conditions.map(toInput);
  if (typeof conditions !== "object" || conditions === null) return conditions;
  const entries = Object.entries(conditions).map(([name, value]) => {
    if (name === "operator") return [name, upper(value)];
    return [name, name === "any" || name === "all" || name === "not" ? toInput(value) : value];
  });
  return Object.fromEntries(entries);
}
