import { builder } from "../kit/builder.ts";
import { PolicyMethod } from "../kit/enums.ts";
import { byEnum, byFlag, byId, byInt, byOwnId, byText, byTime } from "../kit/filter.ts";
import { PolicyMethodFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { byAnyOf, byWords } from "../kit/text-filter.ts";
import { groups } from "./policy-group.ts";

/** A limit on executions. */
export const Policy = builder.drizzleNode("policies", {
  name: "Policy",
  description:
    "A limit on how many executions of an action, of a pack's actions or of all actions may run at once or start within a window. Of the enabled policies for its action, else for its pack, else for all, the one with the highest priority applies to an execution.",
  id: { column: (policy) => policy.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its unique name: `pack.name`." }),
    name: t.exposeString("name", { description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it is for." }),
    enabled: t.exposeBoolean("enabled", { description: "Whether it applies." }),
    priority: t.exposeInt("priority", {
      description: "Of several policies for one execution, the highest priority applies.",
    }),
    parameters: t.exposeStringList("parameters", {
      description: "Paths in the action's parameters. Each combination of their values has limits of its own.",
    }),
    method: t.expose("method", {
      type: PolicyMethod,
      nullable: true,
      description: "What happens to an execution above a limit; null without a threshold: it waits.",
    }),
    threshold: t.exposeInt("threshold", { nullable: true, description: "How many executions may run at once." }),
    rateMax: t.exposeInt("rateMax", {
      nullable: true,
      description: "How many executions may start within the window.",
    }),
    rateWindowSeconds: t.exposeInt("rateWindowSeconds", { nullable: true, description: "The window, in seconds." }),
    tags: t.exposeStringList("tags", { description: "Keywords to find it by." }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    groups: t.relatedConnection(
      "groups",
      groups.related(
        "The executions that share its limits, by the values of its parameters; those in use in the last hour.",
      ),
      groups.connection,
    ),
    action: t.relation("action", { nullable: true, description: "The only action that it applies to, if any." }),
    pack: t.relation("pack", {
      nullable: true,
      description: "The pack whose actions it applies to; null if it applies to one action or to all.",
    }),
  }),
});

/** Lists of policies: filters, orders and connection. */
export const policies = defineList("Policy", "policies", {
  ref: Policy,
  where: {
    id: byOwnId("Policy", "The policy itself."),
    ref: byText("ref", "Its ref."),
    name: byText("name", "Its name."),
    description: byText("description", "Its description."),
    text: byWords(["ref", "name", "description"], ["tags"]),
    tags: byAnyOf("tags", "One of its tags."),
    enabled: byFlag("enabled", "Whether it applies."),
    priority: byInt("priority", "Its priority."),
    method: byEnum(PolicyMethodFilter, "method", "What happens to an execution above the threshold."),
    action: byId("Action", "actionId", "The action that it applies to."),
    pack: byId("Pack", "packId", "The pack whose actions it applies to."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: {
    ref: "Its ref.",
    name: "Its name.",
    priority: "Its priority.",
    created: "When it was created.",
    updated: "When it last changed.",
  },
  defaultOrder: ["ref", "asc"],
});

addRootFields({
  table: "policies",
  name: "Policy",
  one: "policy",
  many: "policies",
  ref: Policy,
  list: policies,
  hasRef: true,
});
