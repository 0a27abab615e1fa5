import { findRow } from "../../access/rows.ts";
import { invalid, NotFoundError, UnauthenticatedError } from "../../errors.ts";
import type { Json } from "../../lib/json.ts";
import { findOtherRules } from "../../rule/backstop.ts";
import type { NewRule } from "../../rule/definition.ts";
import { type Finding, type LintedRule, type LintSchemas, lintRule } from "../../rule/lint.ts";
import type { OtherRules } from "../../rule/lint-kinds.ts";
import type { ParameterMap } from "../../schema/schema.ts";
import { createBatchLoader } from "../kit/batch.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { RuleFindingKind } from "../kit/enums.ts";
import { RuleDraftInput, readDraft } from "./draft.ts";
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
  columns: {
    condition: true,
    conditions: true,
    actionRef: true,
    actionParams: true,
    window: true,
    activeHours: true,
    backstop: true,
    triggerId: true,
    triggerRef: true,
    triggerParams: true,
  },
  with: { trigger: { columns: { outSchema: true } }, action: { columns: { paramSchema: true } } },
} as const;

interface Targets {
  trigger: { outSchema: unknown } | null;
  action: { paramSchema: unknown } | null;
}

/** A schema that declares nothing leaves everything open. */
function schemasOf({ trigger, action }: Targets, others: OtherRules | null): LintSchemas {
  const payload = (trigger?.outSchema ?? null) as ParameterMap | null; // checked when it was saved
  return {
    payload: payload !== null && Object.keys(payload).length > 0 ? payload : null,
    parameters: (action?.paramSchema ?? null) as ParameterMap | null,
    others,
  };
}

const loadOthers = createBatchLoader<OtherRules>();

async function findOthers(triggers: readonly bigint[], { services, session }: Context) {
  return session === null ? new Map<bigint, OtherRules>() : await findOtherRules(services.db, session, triggers);
}

async function findOthersOf(trigger: bigint | null, ctx: Context): Promise<OtherRules | null> {
  return trigger === null ? null : ((await findOthers([trigger], ctx)).get(trigger) ?? null);
}

builder.drizzleObjectField(Rule, "warnings", (t) =>
  t.field({
    type: [RuleFinding],
    description:
      "What is probably wrong with it, at most 100 findings; also in the results of the mutations that save it. Without its trigger or its action, or if you may not read them, it is not compared with them.",
    complexity: 10,
    select: linted,
    resolve: async (rule, _args, ctx, info) => {
      const { backstop, triggerId } = rule;
      const others = backstop && triggerId !== null ? await loadOthers(triggerId, findOthers, ctx, info) : null;
      return lintRule(rule, schemasOf(rule, others ?? null));
    },
  }),
);

async function lintSaved(ctx: Context, ref: string): Promise<Finding[]> {
  const rule = await ctx.db.query.rules.findFirst({ ...linted, where: { ref } });
  if (!rule) throw new NotFoundError("rule", ref);
  return lintRule(rule, schemasOf(rule, rule.backstop ? await findOthersOf(rule.triggerId, ctx) : null));
}

async function lintDraft(ctx: Context, draft: NewRule): Promise<Finding[]> {
  const { services, session } = ctx;
  if (session === null) throw new UnauthenticatedError();
  const read = { doing: "read" } as const;
  const trigger = await findRow(services.db, session, { ...read, of: "trigger", which: { ref: draft.trigger } });
  const action = await findRow(services.db, session, { ...read, of: "action", which: { ref: draft.action } });
  const rule: LintedRule = {
    ...{ condition: draft.condition ?? "all", conditions: (draft.conditions as Json[] | undefined) ?? [] },
    ...{ actionRef: draft.action, actionParams: draft.actionParams ?? {}, window: draft.window },
    ...{ activeHours: draft.activeHours, backstop: draft.backstop ?? false },
    ...{ triggerRef: draft.trigger, triggerParams: draft.triggerParams ?? {} },
  };
  return lintRule(rule, schemasOf({ trigger, action }, rule.backstop ? await findOthersOf(trigger.id, ctx) : null));
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
