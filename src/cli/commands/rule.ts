import { mutate } from "../client.ts";
import { countOption, define, type Group, groupOf, option } from "../define.ts";
import { Failure, UsageFailure } from "../failure.ts";
import { readDocument } from "../input.ts";
import { resourceOf } from "../resources.ts";
import { draftOf, timeOf, triedRule } from "../rule-file.ts";
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

const revisionColumns = [
  ["REVISION", "number"],
  ["AT", "at"],
  ["OWNER", "owner.login"],
  ["CHANGED", "changed"],
] as const;

interface Revision {
  changes: { field: string }[] | null;
}

const windowColumns = [
  ["KEY", "key"],
  ["KIND", "kind"],
  ["COUNT", "count"],
  ["DUE", "dueAt"],
  ["EXPIRES", "expiresAt"],
] as const;

interface RuleTest {
  matches: boolean;
  reason: string | null;
  windowKey: string | null;
  parametersError: string | null;
  parameters: object | null;
  criteria: object[];
}

/** Adds `rule test`, `lint`, `revisions`, `restore`, `windows` and `reset`. */
export function addRules(above: Group): void {
  const commands = groupOf(above, "rule");
  addTrying(commands);
  addRevisions(commands);
  addWindows(commands);
}

function addTrying(commands: Group): void {
  define<{ draft?: string; event?: string; payload?: string; at?: string }>(commands, {
    name: "test [ref] [values...]",
    description: "show whether a rule matches an event or a payload, and what it would run; nothing is started",
    options: [
      option("--draft <file>", "a rule's file: with a ref its other contents, without one a rule that does not exist"),
      option("--event <id>", "a stored event"),
      option("--payload <file>", "a payload from a file of JSON or YAML; - is standard input"),
      option("--at <time>", "when the event with the payload happens, such as 2026-03-01T08:00:00Z; by default now"),
    ],
    examples: [
      'test default.greet body=\'{"name": "world"}\'',
      "test default.greet --event RXZlbnQ6MQ==",
      "test default.greet --payload payload.json --output json",
      "test --draft rule.yaml --payload payload.json --at 2026-03-02T08:00:00Z",
    ],
    names: "rule",
    run: async (context, operands, { draft, event, payload: file, at }) => {
      // With a draft the ref is optional; what has a value is no ref.
      const isDraft = draft !== undefined && (operands[0] === undefined || operands[0].includes("="));
      const [rule, pairs] = isDraft ? [undefined, operands] : [operands[0], operands.slice(1)];
      if ((event !== undefined) === (file !== undefined || pairs.length > 0)) {
        throw new UsageFailure("Give either --event or a payload.");
      }
      const from =
        event === undefined ? { payload: await readPayload(context, pairs, file, async () => ({})) } : { event };
      const tried = await triedRule(context, rule, draft);
      const { testRule } = await context.ask<{ testRule: RuleTest | null }>(
        `query($input: TestRuleInput!) { testRule(input: $input) {
          matches reason windowKey parameters parametersError criteria { path operator expected actual result error } } }`,
        { input: { ...tried, ...from, ...(at === undefined ? {} : { at: timeOf("--at", at) }) } },
      );
      if (!testRule) throw new Failure(`There is no rule "${rule}", or you may not change it.`);
      const { criteria, ...result } = testRule;
      if (context.options.output !== "table") return await context.printValue(testRule);
      await context.printObject(result);
      if (criteria.length > 0) await context.printRows(criteria, criterionColumns, "");
    },
  });
  define<{ draft?: string }>(commands, {
    name: "lint [ref]",
    description: "look for mistakes in a rule, or in a rule's file; fails if there are any",
    options: [option("--draft <file>", "the file of a rule that need not exist; - is standard input")],
    examples: ["lint default.greet", "lint --draft rule.yaml"],
    names: "rule",
    run: async (context, [rule], { draft: file }) => {
      if ((rule === undefined) === (file === undefined)) {
        throw new UsageFailure("Give either the ref of a rule, or a file by --draft.");
      }
      const draft = file === undefined ? null : draftOf(await readDocument(context, file));
      const { lintRule } = await context.ask<{ lintRule: object[] | null }>(
        "query($rule: String, $draft: RuleDraftInput) { lintRule(rule: $rule, draft: $draft) { kind path message suggestion } }",
        { rule, draft },
      );
      if (!lintRule) throw new Failure(`There is no rule "${rule}", or you may not read it.`);
      await context.printRows(lintRule, findingColumns, `${rule ?? file}: no mistakes were found.`);
      return lintRule.length === 0 ? 0 : 1;
    },
  });
}

function addRevisions(commands: Group): void {
  const { fields, columns } = resourceOf("rule");
  define<{ limit?: number; since?: number }>(commands, {
    name: "revisions <ref>",
    description: "show what a rule was after its changes, newest first, and what each changed",
    options: [
      countOption("--limit <count>", "at most so many, up to 100; 20 by default"),
      countOption("--since <revision>", "compare each with this revision rather than with the one before it"),
    ],
    examples: ["revisions default.greet", "revisions default.greet --limit 1 --since 1 --output yaml"],
    names: "rule",
    run: async (context, [ref = ""], { limit = 20, since = null }) => {
      const { ruleByRef } = await context.ask<{ ruleByRef: { revisions: { nodes: Revision[] } } | null }>(
        `query($ref: String!, $limit: Int!, $since: Int) { ruleByRef(ref: $ref) { revisions(first: $limit) { nodes {
          number at owner { login } changes(since: $since) { field before after } definition } } } }`,
        { ref, limit, since },
      );
      if (!ruleByRef) throw new Failure(`There is no rule "${ref}", or you may not read it.`);
      const { nodes } = ruleByRef.revisions;
      if (context.options.output !== "table") return await context.printValue(nodes);
      const shown = nodes.map((node) => ({ ...node, changed: node.changes?.map(({ field }) => field) }));
      await context.printRows(shown, revisionColumns, "");
    },
  });
  define(commands, {
    name: "restore <ref> <revision>",
    description: "make a rule what it was in a revision, which is an update by you",
    examples: ["restore default.greet 1"],
    names: "rule",
    run: async (context, [ref = "", number = ""]) => {
      if (!/^[1-9]\d{0,8}$/.test(number)) throw new UsageFailure(`"${number}" is not the number of a revision.`);
      const { rule } = await mutate<{ rule: object }>(
        context.ask,
        "restoreRule",
        { ref, revision: Number(number) },
        `rule { ${fields} revision }`,
      );
      await context.printOne(rule, columns);
    },
  });
}

function addWindows(commands: Group): void {
  const { fields, columns } = resourceOf("rule");
  define<{ limit?: number }>(commands, {
    name: "windows <ref>",
    description: "show what the window of a rule knows, by key, the last changed first",
    options: [countOption("--limit <count>", "at most so many, up to 100; 20 by default")],
    examples: ["windows default.greet", "windows default.greet --limit 5 --output json"],
    names: "rule",
    run: async (context, [ref = ""], { limit = 20 }) => {
      const { ruleByRef } = await context.ask<{ ruleByRef: { windows: { nodes: object[] } } | null }>(
        `query($ref: String!, $limit: Int!) { ruleByRef(ref: $ref) { windows(first: $limit) { nodes {
          key kind count dueAt expiresAt updated event { id } } } } }`,
        { ref, limit },
      );
      if (!ruleByRef) throw new Failure(`There is no rule "${ref}", or you may not read it.`);
      await context.printRows(ruleByRef.windows.nodes, windowColumns, `${ref}: no window knows anything.`);
    },
  });
  define<{ windows?: boolean }>(commands, {
    name: "reset <ref>",
    description: "let a rule that has tripped start its action again at once",
    options: [option("--windows", "its windows forget what they know too: what they wait for does not start")],
    examples: ["reset default.greet", "reset default.greet --windows"],
    names: "rule",
    run: async (context, [ref = ""], { windows = false }) => {
      const { rule } = await mutate<{ rule: object }>(
        context.ask,
        "resetRule",
        { ref, windows },
        `rule { ${fields} trippedAt }`,
      );
      await context.printOne(rule, columns);
    },
  });
}
