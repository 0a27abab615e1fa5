import { builder } from "../kit/builder.ts";
import { PolicyMethod } from "../kit/enums.ts";
import { byEnum, byFlag, byId, byInt, byText, byTime } from "../kit/filter.ts";
import { PolicyMethodFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { byWords } from "../kit/text-filter.ts";

/** A limit on executions. */
export const Policy = builder.drizzleNode("policies", {
  name: "Policy",
  description:
    "How many executions of an action, of a pack's actions or of all may run at once, or start in a while. Policies are stored and checked; this version does not apply them yet.",
  id: { column: (policy) => policy.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its name in the whole system: `pack.name`." }),
    name: t.exposeString("name", { description: "Its name for people." }),
    description: t.exposeString("description", { nullable: true, description: "What it is for." }),
    enabled: t.exposeBoolean("enabled", { description: "Whether it limits." }),
    priority: t.exposeInt("priority", { description: "Of several for one execution the highest decides." }),
    parameters: t.exposeStringList("parameters", {
      description: "Paths in the action's parameters; each combination of their values is limited by itself.",
    }),
    method: t.expose("method", {
      type: PolicyMethod,
      nullable: true,
      description: "What becomes of an execution above the threshold; null without one.",
    }),
    threshold: t.exposeInt("threshold", { nullable: true, description: "How many may run at once." }),
    rateMax: t.exposeInt("rateMax", { nullable: true, description: "How many may start within the window." }),
    rateWindowSeconds: t.exposeInt("rateWindowSeconds", { nullable: true, description: "The window, in seconds." }),
    tags: t.exposeStringList("tags", { description: "Words to find it by." }),
    created: t.expose("created", { type: "DateTime", description: "When it was made." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed; give it as `expectedUpdated` to change only what you have read.",
    }),
    action: t.relation("action", { nullable: true, description: "The one action that it is about, if it is." }),
    pack: t.relation("pack", {
      nullable: true,
      description: "The pack whose actions it is about; null where it is about one action, or all.",
    }),
  }),
});

/** Policies, wherever they are listed. */
export const policies = defineList("Policy", "policies", {
  ref: Policy,
  where: {
    id: byId("Policy", "id", "The policy itself."),
    ref: byText("ref", "Its ref."),
    name: byText("name", "Its name."),
    description: byText("description", "Its description."),
    text: byWords(["ref", "name", "description"], ["tags"]),
    enabled: byFlag("enabled", "Whether it limits."),
    priority: byInt("priority", "Its priority."),
    method: byEnum(PolicyMethodFilter, "method", "What becomes of an execution above the threshold."),
    action: byId("Action", "actionId", "The action that it is about."),
    pack: byId("Pack", "packId", "The pack whose actions it is about."),
    created: byTime("created", "When it was made."),
    updated: byTime("updated", "When it last changed."),
  },
  order: {
    ref: "Its ref.",
    name: "Its name.",
    priority: "Its priority.",
    created: "When it was made.",
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
