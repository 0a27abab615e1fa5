import { define, type Group, groupOf, option } from "../define.ts";
import { Failure, UsageFailure } from "../failure.ts";
import { readPayload } from "./event.ts";

const findingColumns = [
  ["KIND", "kind"],
  ["PATH", "path"],
  ["WHAT", "message"],
  ["SUGGESTION", "suggestion"],
] as const;

const criterionColumns = [
  ["HOLDS", "result"],
  ["FIELD", "path"],
  ["OPERATOR", "operator"],
  ["EXPECTED", "expected"],
  ["ACTUAL", "actual"],
  ["ERROR", "error"],
] as const;

interface RuleTest {
  matches: boolean;
  reason: string | null;
  parametersError: string | null;
  parameters: object | null;
  criteria: object[];
}

/** Adds `rule test` and `rule lint`. */
export function addRules(above: Group): void {
  const commands = groupOf(above, "rule");
  define<{ event?: string; payload?: string }>(commands, {
    name: "test <ref> [values...]",
    description: "show whether a rule matches an event or a payload, and what it would run; nothing is started",
    options: [
      option("--event <id>", "a stored event"),
      option("--payload <file>", "a payload from a file of JSON or YAML; - is standard input"),
    ],
    examples: [
      'test default.greet body=\'{"name": "world"}\'',
      "test default.greet --event RXZlbnQ6MQ==",
      "test default.greet --payload payload.json --output json",
    ],
    names: "rule",
    run: async (context, [rule = "", ...pairs], { event, payload: file }) => {
      if ((event !== undefined) === (file !== undefined || pairs.length > 0)) {
        throw new UsageFailure("Give either --event or a payload.");
      }
      const from =
        event === undefined ? { payload: await readPayload(context, pairs, file, async () => ({})) } : { event };
      const { testRule } = await context.ask<{ testRule: RuleTest | null }>(
        `query($input: TestRuleInput!) { testRule(input: $input) {
          matches reason parameters parametersError criteria { path operator expected actual result error } } }`,
        { input: { rule, ...from } },
      );
      if (!testRule) throw new Failure(`There is no rule "${rule}", or you may not change it.`);
      const { criteria, ...result } = testRule;
      if (context.options.output !== "table") return await context.printValue(testRule);
      await context.printObject(result);
      if (criteria.length > 0) await context.printRows(criteria, criterionColumns, "");
    },
  });
  define(commands, {
    name: "lint <ref>",
    description: "look for mistakes in a rule; fails if there are any",
    examples: ["lint default.greet"],
    names: "rule",
    run: async (context, [rule = ""]) => {
      const { lintRule } = await context.ask<{ lintRule: object[] | null }>(
        "query($rule: String!) { lintRule(rule: $rule) { kind path message suggestion } }",
        { rule },
      );
      if (!lintRule) throw new Failure(`There is no rule "${rule}", or you may not read it.`);
      await context.printRows(lintRule, findingColumns, `${rule}: no mistakes were found.`);
      return lintRule.length === 0 ? 0 : 1;
    },
  });
}
