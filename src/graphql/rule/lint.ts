import { findRow } from "../../access/rows.ts";
import { invalid, NotFoundError, UnauthenticatedError } from "../../errors.ts";
import { type Finding, type LintedRule, type LintSchemas, lintRule } from "../../rule/lint.ts";
import type { ParameterMap } from "../../schema/schema.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { RuleCondition, RuleFindingKind } from "../kit/enums.ts";
import { bounded } from "../kit/filter.ts";
import { RuleConditionInput, toCondition } from "./conditions.ts";
import { Rule } from "./rule.ts";

const RuleFinding = builder.objectRef<Finding>("RuleFinding").implement({
  description: "What is probably wrong with a rule.",
  fields: (t) => ({
    kind: t.expose("kind", { type: RuleFindingKind, description: "What it says." }),
    path: t.exposeString("path", { description: 'Its place in the rule, such as "conditions.0.value".' }),
    message: t.exposeString("message", { description: "What is wrong." }),
    suggestion: t.exposeString("suggestion", { description: "What would be right." }),
  }),
});

/** What the linter needs of a rule, its trigger and its action; null for what does not exist or may not be read. */
const linted = {
  columns: { condition: true, conditions: true, actionRef: true, actionParams: true, window: true },
  with: { trigger: { columns: { outSchema: true } }, action: { columns: { paramSchema: true } } },
} as const;

interface Targets {
  trigger: { outSchema: unknown } | null;
  action: { paramSchema: unknown } | null;
}

/** A schema that declares nothing leaves everything open. */
function schemasOf({ trigger, action }: Targets): LintSchemas {
  const payload = (trigger?.outSchema ?? null) as ParameterMap | null; // checked when it was saved
  return {
    payload: payload !== null && Object.keys(payload).length > 0 ? payload : null,
    parameters: (action?.paramSchema ?? null) as ParameterMap | null,
  };
}

builder.drizzleObjectField(Rule, "warnings", (t) =>
  t.field({
    type: [RuleFinding],
    description:
      "What is probably wrong with it, at most 100 findings; also in the results of the mutations that save it. Without its trigger or its action, or if you may not read them, it is not compared with them.",
    complexity: 10,
    select: linted,
    resolve: (rule) => lintRule(rule, schemasOf(rule)),
  }),
);

/** A draft with its defaults. */
type Draft = LintedRule & { triggerRef: string };

/** The input of a rule that is not saved. */
const RuleDraftInput = builder.inputType("RuleDraftInput", {
  description: "A rule that is not saved.",
  fields: (t) => ({
    action: t.string({ required: true, description: "The ref of its action." }),
    trigger: t.string({ required: true, description: "The ref of its trigger." }),
    condition: t.field({ type: RuleCondition, description: "How its conditions are combined; ALL by default." }),
    conditions: t.field({ type: [RuleConditionInput], description: "Its conditions, at most 100." }),
    actionParams: t.field({ type: "JSONObject", description: "The action's parameters." }),
  }),
});

/** Returns the draft with its defaults. */
function readDraft({
  action: actionRef,
  trigger: triggerRef,
  condition,
  conditions,
  actionParams,
}: typeof RuleDraftInput.$inferInput): Draft {
  return {
    ...{ actionRef, triggerRef, condition: condition ?? "all" },
    conditions: bounded(conditions ?? [], "draft.conditions").map(toCondition),
    actionParams: actionParams ?? {},
  };
}

async function lintSaved({ db }: Context, ref: string): Promise<Finding[]> {
  const rule = await db.query.rules.findFirst({ ...linted, where: { ref } });
  if (!rule) throw new NotFoundError("rule", ref);
  return lintRule(rule, schemasOf(rule));
}

async function lintDraft({ services, session }: Context, draft: Draft): Promise<Finding[]> {
  if (session === null) throw new UnauthenticatedError();
  const read = { doing: "read" } as const;
  const trigger = await findRow(services.db, session, { ...read, of: "trigger", which: { ref: draft.triggerRef } });
  const action = await findRow(services.db, session, { ...read, of: "action", which: { ref: draft.actionRef } });
  return lintRule(draft, schemasOf({ trigger, action }));
}

builder.queryField("lintRule", (t) =>
  t.field({
    type: [RuleFinding],
    nullable: { list: true, items: false },
    authScopes: { signedIn: true },
    complexity: 20,
    description:
      "Looks for mistakes in a rule or a draft: at most 100 findings. For a draft you must be able to read its trigger and its action. Keys are not looked up.",
    args: {
      rule: t.arg.string({ description: "The rule's ref; or give a draft." }),
      draft: t.arg({ type: RuleDraftInput, description: "A rule that is not saved." }),
    },
    resolve: async (_root, { rule, draft }, ctx) => {
      if (draft && !rule) return await lintDraft(ctx, readDraft(draft));
      if (rule && !draft) return await lintSaved(ctx, rule);
      throw invalid("rule", "give either a rule or a draft");
    },
  }),
);
