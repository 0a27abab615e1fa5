import { findChanges, type RuleChange, readDefinition, restoreRule } from "../../rule/revision.ts";
import { createBatchLoader } from "../kit/batch.ts";
import { builder } from "../kit/builder.ts";
import { byId, byInt, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRowMutation, expectedUpdated } from "../kit/mutation.ts";
import { Rule } from "./rule.ts";

const RuleChangeType = builder.objectRef<RuleChange>("RuleChange").implement({
  description: "A field of a rule that differs between two revisions.",
  fields: (t) => ({
    field: t.exposeString("field", { description: 'The name of the field, such as "actionParams".' }),
    before: t.expose("before", { type: "JSON", nullable: true, description: "Its value in the older revision." }),
    after: t.expose("after", { type: "JSON", nullable: true, description: "Its value in this revision." }),
  }),
});

const loadChanges = createBatchLoader<RuleChange[]>();

const RuleRevision = builder.drizzleObject("ruleRevisions", {
  name: "RuleRevision",
  description: "What a rule was from one change to the next, readable with the rule.",
  select: { columns: { id: true } },
  fields: (t) => ({
    number: t.exposeInt("number", { description: "Its number: 1 is the rule as it was created." }),
    at: t.expose("created", { type: "DateTime", description: "When the rule was changed to this." }),
    definition: t.field({
      type: "JSONObject",
      description: "The fields of the rule, with values as they are stored and as files of packs write them.",
      select: { columns: { definition: true } },
      resolve: ({ definition }) => readDefinition(definition),
    }),
    changes: t.field({
      type: [RuleChangeType],
      nullable: { list: true, items: false },
      complexity: 5,
      description:
        "What it changed since the revision before it, or another one; none if only its owner changed. Null where there is no such revision, or it is no longer kept.",
      args: { since: t.arg.int({ description: "The number of the revision to compare with." }) },
      select: { columns: { id: true } },
      resolve: async ({ id }, { since }, ctx, info) =>
        (await loadChanges(id, (ids, { db }) => findChanges(db, ids, since ?? null), ctx, info)) ?? null,
    }),
    owner: t.relation("owner", {
      nullable: true,
      description:
        "The identity with whose grants the rule ran, which is the one that had changed it; null for a rule of a pack's files.",
    }),
    rule: t.relation("rule", { nullable: true, description: "The rule." }),
  }),
});

const revisions = defineList("RuleRevision", "ruleRevisions", {
  ref: RuleRevision,
  where: {
    number: byInt("number", "Its number."),
    owner: byId("Identity", "ownerId", "The identity that owned the rule."),
    at: byTime("created", "When the rule was changed to this."),
  },
  order: { id: "The order of the changes." },
  defaultOrder: ["id", "desc"],
});

builder.drizzleObjectField(Rule, "revisions", (t) =>
  t.relatedConnection(
    "revisions",
    revisions.related("What it was after each of its changes, of which the newest 1,000 are kept."),
    revisions.connection,
  ),
);

const RestoreRuleInput = builder.inputType("RestoreRuleInput", {
  description: "The rule and the revision.",
  fields: (t) => ({
    ref: t.string({ required: true, description: "The rule's ref." }),
    revision: t.int({ required: true, description: "The number of the revision." }),
    expectedUpdated: expectedUpdated(t),
  }),
});

addRowMutation({
  name: "restoreRule",
  may: "rule:update",
  description:
    "Changes a rule to what it was in a revision, and makes you its owner: what the revision does is checked as if you wrote it now. Whether it is enabled remains as it is.",
  input: RestoreRuleInput,
  inputDescription: "The rule and the revision.",
  table: "rules",
  ref: Rule,
  payload: ["rule", "The rule as it is now."],
  run: restoreRule,
});
