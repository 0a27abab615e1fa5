import type { RetentionName } from "../../lib/retention.ts";
import { type Overview, retentionOverview } from "../../retention/overview.ts";
import { type Purged, purge } from "../../retention/purge.ts";
import { ruleNames, rules } from "../../retention/rules.ts";
import { builder } from "../kit/builder.ts";
import { addMutation } from "../kit/mutation.ts";

const RetentionRuleName = builder.enumType("RetentionRuleName", {
  description: "The rows that are deleted when they are old.",
  values: Object.fromEntries(
    ruleNames.map((name) => [name.toUpperCase(), { value: name, description: rules[name].description }]),
  ) as Record<string, { value: RetentionName; description: string }>,
});

const RetentionRule = builder.objectRef<Overview>("RetentionRule").implement({
  description: "For how long rows are kept, and what would be deleted now.",
  fields: (t) => ({
    name: t.expose("name", { type: RetentionRuleName, description: "The rule's name." }),
    description: t.exposeString("description", { description: "What it deletes." }),
    days: t.exposeInt("days", {
      description: "The days for which rows are kept, by the server's settings; 0: for ever.",
    }),
    removable: t.exposeInt("removable", {
      description:
        "How many rows would be deleted now, of the first batch of the table; `hasMore` shows whether it is all.",
    }),
    hasMore: t.exposeBoolean("hasMore", {
      description: "Whether there may be more: counting stops after one batch of rows.",
    }),
    oldest: t.expose("oldest", {
      type: "DateTime",
      nullable: true,
      description: "When the first row that is stored was created; null: there is none.",
    }),
  }),
});

builder.queryField("retention", (t) =>
  t.field({
    type: [RetentionRule],
    nullable: { list: true, items: false },
    authScopes: { may: "retention:read" },
    complexity: 100,
    description: "The rules by which old rows are deleted, in the order in which they apply.",
    resolve: (_root, _args, { services }) => retentionOverview(services.db, services.retention),
  }),
);

const PurgeInput = builder.inputType("PurgeInput", {
  description: "What to delete.",
  fields: (t) => ({
    name: t.field({ type: RetentionRuleName, description: "The rows to delete; by default those of all rules." }),
    olderThan: t.field({
      type: "DateTime",
      description:
        "Deletes what was created, and has ended, before this time; by default what the settings no longer keep. The audit trail and idempotency keys are kept as the settings say in any case.",
    }),
    dryRun: t.boolean({ description: "Counts what the same call without `dryRun` would delete, and deletes nothing." }),
    after: t.string({ description: "The `next` of the previous call; by default it begins with the first row." }),
  }),
});

const PurgedRows = builder.objectRef<Purged["purged"][number]>("PurgedRows").implement({
  description: "What one call deleted by one rule.",
  fields: (t) => ({
    name: t.expose("name", { type: RetentionRuleName, description: "The rule." }),
    count: t.exposeInt("count", { description: "How many rows were deleted or, in a dry run, would be." }),
  }),
});

const PurgePayload = builder.objectRef<Purged>("PurgePayload").implement({
  description: "The mutation succeeded, as far as one call goes.",
  fields: (t) => ({
    purged: t.expose("purged", {
      type: [PurgedRows],
      description: "What was deleted, for each rule that the call reached.",
    }),
    next: t.exposeString("next", {
      nullable: true,
      description: "Where to go on: pass it as `after`. Null: there is no more.",
    }),
  }),
});

addMutation({
  name: "purge",
  may: "retention:purge",
  description:
    "Deletes old rows that are no longer needed, without entries in the notification log. One call looks at a few thousand rows: call it again with `after: next` until `next` is null.",
  input: PurgeInput,
  inputDescription: "What to delete.",
  type: PurgePayload,
  payload: null,
  prepare: ({ services }, { name = null, olderThan = null, dryRun = null, after = null }) => ({
    ...{ name, olderThan, after, dryRun: dryRun === true, days: services.retention },
  }),
  run: purge,
});
