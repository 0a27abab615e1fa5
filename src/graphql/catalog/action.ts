import { executions } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { OutputFormat, ParameterDelivery, ParameterFormat, WorkerLoss } from "../kit/enums.ts";
import { byFlag, byId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { byWords } from "../kit/text-filter.ts";
import { rules } from "../rule/rule.ts";
import { policies } from "./policy.ts";

/** Something that can be run. */
export const Action = builder.drizzleNode("actions", {
  name: "Action",
  description: "Something that can be run.",
  id: { column: (action) => action.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its name in the whole system: `pack.name`." }),
    packRef: t.exposeString("packRef", { nullable: true, description: "The ref of its pack." }),
    label: t.exposeString("label", { description: "Its name for people." }),
    description: t.exposeString("description", { nullable: true, description: "What it does." }),
    enabled: t.exposeBoolean("enabled", { description: "Whether it may be run." }),
    isAdhoc: t.exposeBoolean("isAdhoc", { description: "Whether a person made it, rather than a pack's files." }),
    entrypoint: t.exposeString("entrypoint", {
      description: "What is run: a file of the pack, or a name in its runtime.",
    }),
    paramSchema: t.expose("paramSchema", {
      type: "JSONObject",
      nullable: true,
      description: "Its parameters, by name: type, default, limits.",
    }),
    outSchema: t.expose("outSchema", {
      type: "JSONObject",
      nullable: true,
      description: "What its result holds, by name.",
    }),
    parameterDelivery: t.expose("parameterDelivery", {
      type: ParameterDelivery,
      description: "How it gets its parameters.",
    }),
    parameterFormat: t.expose("parameterFormat", {
      type: ParameterFormat,
      description: "How its parameters are written.",
    }),
    outputFormat: t.expose("outputFormat", { type: OutputFormat, description: "How its output becomes its result." }),
    timeoutSeconds: t.exposeInt("timeoutSeconds", {
      nullable: true,
      description: "How long it may run, in seconds, unless asked otherwise.",
    }),
    onWorkerLoss: t.expose("onWorkerLoss", {
      type: WorkerLoss,
      description: "What becomes of its executions if their worker is lost.",
    }),
    permissionSetRefs: t.exposeStringList("permissionSetRefs", {
      description: "The refs of the permission sets that its executions get.",
    }),
    workerSelector: t.expose("workerSelector", {
      type: "JSONObject",
      description: "The labels, by name, that a worker must have.",
    }),
    retry: t.expose("retry", {
      type: "JSONObject",
      nullable: true,
      description: "When and how often it is tried again.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was made." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed; give it as `expectedUpdated` to change only what you have read.",
    }),
    pack: t.relation("pack", { nullable: true, description: "Its pack." }),
    runtime: t.relation("runtime", { nullable: true, description: "What it runs in; null for a workflow." }),
    workflow: t.relation("workflow", { nullable: true, description: "The workflow that it stands for, if it does." }),
    policies: t.relatedConnection("policies", policies.related("The policies about it alone."), policies.connection),
    rules: t.relatedConnection("rules", rules.related("The rules that run it."), rules.connection),
    executions: t.relatedConnection("executions", executions.related("Its runs."), executions.connection),
  }),
});

/** Actions, wherever they are listed. */
export const actions = defineList("Action", "actions", {
  ref: Action,
  where: {
    id: byId("Action", "id", "The action itself."),
    ref: byText("ref", "Its ref."),
    pack: byText("packRef", "The ref of its pack."),
    label: byText("label", "Its label."),
    description: byText("description", "Its description."),
    text: byWords(["ref", "label", "description"]),
    enabled: byFlag("enabled", "Whether it may be run."),
    isAdhoc: byFlag("isAdhoc", "Whether a person made it."),
    runtime: byId("Runtime", "runtimeId", "What it runs in."),
    created: byTime("created", "When it was made."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", label: "Its label.", created: "When it was made.", updated: "When it last changed." },
  defaultOrder: ["ref", "asc"],
});

addRootFields({
  table: "actions",
  name: "Action",
  one: "action",
  many: "actions",
  ref: Action,
  list: actions,
  hasRef: true,
});
