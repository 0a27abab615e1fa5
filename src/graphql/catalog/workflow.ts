import { builder } from "../kit/builder.ts";
import { byOwnId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { byAnyOf, byWords } from "../kit/text-filter.ts";
import { actions } from "./action.ts";

/** A graph of tasks. */
export const WorkflowDefinition = builder.drizzleNode("workflowDefinitions", {
  name: "WorkflowDefinition",
  description:
    "A graph of tasks, each of which runs an action. Definitions are stored; this version does not run them yet.",
  id: { column: (workflow) => workflow.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its unique name: `pack.name`." }),
    packRef: t.exposeString("packRef", { description: "The ref of its pack." }),
    label: t.exposeString("label", { description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it does." }),
    version: t.exposeString("version", { description: "Its semantic version." }),
    definition: t.expose("definition", {
      type: "JSONObject",
      description: "Its tasks and their order.",
    }),
    paramSchema: t.expose("paramSchema", {
      type: "JSONObject",
      nullable: true,
      description: "Its parameters, by name: type, default, limits.",
    }),
    outSchema: t.expose("outSchema", {
      type: "JSONObject",
      nullable: true,
      description: "What its result contains, by name.",
    }),
    tags: t.exposeStringList("tags", { description: "Keywords to find it by." }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    pack: t.relation("pack", { nullable: true, description: "Its pack." }),
    actions: t.relatedConnection("actions", actions.related("The actions that run it."), actions.connection),
  }),
});

/** Lists of workflows: filters, orders and connection. */
export const workflows = defineList("WorkflowDefinition", "workflowDefinitions", {
  ref: WorkflowDefinition,
  where: {
    id: byOwnId("WorkflowDefinition", "The workflow itself."),
    ref: byText("ref", "Its ref."),
    pack: byText("packRef", "The ref of its pack."),
    label: byText("label", "Its label."),
    description: byText("description", "Its description."),
    text: byWords(["ref", "label", "description"], ["tags"]),
    tags: byAnyOf("tags", "One of its tags."),
    version: byText("version", "Its version."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", label: "Its label.", created: "When it was created.", updated: "When it last changed." },
  defaultOrder: ["ref", "asc"],
});

addRootFields({
  table: "workflowDefinitions",
  name: "WorkflowDefinition",
  one: "workflowDefinition",
  many: "workflowDefinitions",
  ref: WorkflowDefinition,
  list: workflows,
  hasRef: true,
});
