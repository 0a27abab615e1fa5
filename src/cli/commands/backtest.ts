import type { Context } from "../context.ts";
import { define, type Group, groupOf, option } from "../define.ts";
import { Failure, UsageFailure } from "../failure.ts";
import type { Message } from "../follow.ts";
import { timeOf, triedRule } from "../rule-file.ts";

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
    name: "backtest [ref]",
    description: "evaluate a rule over stored events, and compare it with the rule as it is; nothing is started",
    options: [
      option(
        "--draft <file>",
        "a rule's file: with a ref its other contents, without one a rule that does not exist; - is standard input",
      ),
      option("--from <time>", "events since then, such as 2026-03-01T00:00:00Z; by default since a day before --to"),
      option("--to <time>", "events before then; by default before now"),
      option("--sample <share>", "the share of the events to evaluate, such as 0.1; by default all"),
    ],
    examples: [
      "backtest default.greet",
      "backtest default.greet --sample 0.5 --output json",
      "backtest --draft rule.yaml",
    ],
    names: "rule",
    run: async (context, [rule], { draft, from, to, sample }) => {
      const input = {
        ...{
          from: from === undefined ? null : timeOf("--from", from),
          to: to === undefined ? null : timeOf("--to", to),
          sample: shareOf(sample),
        },
        ...(await triedRule(context, rule, draft)),
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

function shareOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const share = Number(text);
  if (share > 0 && share <= 1) return share;
  throw new UsageFailure(`--sample "${text}" must be a number above 0 and at most 1, such as 0.1.`);
}
