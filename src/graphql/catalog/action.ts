import type { RetryPolicy as Stored } from "../../catalog/retry.ts";
import { executions } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { OutputFormat, ParameterDelivery, ParameterFormat, WorkerLoss } from "../kit/enums.ts";
import { byFlag, byId, byOwnId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { byWords } from "../kit/text-filter.ts";
import { policies } from "../policy/policy.ts";
import { rules } from "../rule/rule.ts";
import { RetryPolicy } from "./retry.ts";

/** An operation that can be executed. */
export const Action = builder.drizzleNode("actions", {
  name: "Action",
  description: "An operation that can be executed.",
  id: { column: (action) => action.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its unique name: `pack.name`." }),
    packRef: t.exposeString("packRef", { nullable: true, description: "The ref of its pack." }),
    label: t.exposeString("label", { description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it does." }),
    enabled: t.exposeBoolean("enabled", { description: "Whether it can be executed." }),
    isAdhoc: t.exposeBoolean("isAdhoc", {
      description: "Whether it was created by hand rather than loaded from a pack's files.",
    }),
    entrypoint: t.exposeString("entrypoint", {
      description: "The entrypoint: a file of the pack, or a name in its runtime.",
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
    parameterDelivery: t.expose("parameterDelivery", {
      type: ParameterDelivery,
      description: "How it receives its parameters.",
    }),
    parameterFormat: t.expose("parameterFormat", {
      type: ParameterFormat,
      description: "The format of its parameters.",
    }),
    outputFormat: t.expose("outputFormat", {
      type: OutputFormat,
      description: "How its output is parsed into its result.",
    }),
    timeoutSeconds: t.exposeInt("timeoutSeconds", { nullable: true, description: "Its default timeout, in seconds." }),
    onWorkerLoss: t.expose("onWorkerLoss", {
      type: WorkerLoss,
      description: "What happens to its executions when their worker is lost.",
    }),
    permissionSetRefs: t.exposeStringList("permissionSetRefs", {
      description: "The refs of the permission sets that its executions get.",
    }),
    container: t.expose("container", {
      type: "JSONObject",
      nullable: true,
      description: "How its container is run, as its pack's file says; null in other runtimes.",
    }),
    workerSelector: t.expose("workerSelector", {
      type: "JSONObject",
      description: "The labels that a worker must have, by name.",
    }),
    retry: t.expose("retry", {
      type: "JSONObject",
      nullable: true,
      description: "When and how often a failed execution is retried, as it is stored.",
      deprecationReason: "Use `retryPolicy`.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    pack: t.relation("pack", { nullable: true, description: "Its pack." }),
    runtime: t.relation("runtime", {
      nullable: true,
      description: "The runtime that it runs in; null for a workflow.",
    }),
    workflow: t.relation("workflow", { nullable: true, description: "The workflow that it runs, if any." }),
    policies: t.relatedConnection(
      "policies",
      policies.related("The policies that apply only to it."),
      policies.connection,
    ),
    rules: t.relatedConnection("rules", rules.related("The rules that run it."), rules.connection),
    executions: t.relatedConnection("executions", executions.related("Its executions."), executions.connection),
  }),
});

builder.drizzleObjectField(Action, "retryPolicy", (t) =>
  t.field({
    type: RetryPolicy,
    nullable: true,
    description: "When and how often its executions are retried; null: never.",
    select: { columns: { retry: true } },
    resolve: ({ retry }) => retry as Stored | null, // checked when it was stored
  }),
);

/** Lists of actions: filters, orders and connection. */
export const actions = defineList("Action", "actions", {
  ref: Action,
  where: {
    id: byOwnId("Action", "The action itself."),
    ref: byText("ref", "Its ref."),
    pack: byText("packRef", "The ref of its pack."),
    label: byText("label", "Its label."),
    description: byText("description", "Its description."),
    text: byWords(["ref", "label", "description"]),
    enabled: byFlag("enabled", "Whether it can be executed."),
    isAdhoc: byFlag("isAdhoc", "Whether it was created by hand."),
    runtime: byId("Runtime", "runtimeId", "The runtime that it runs in."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", label: "Its label.", created: "When it was created.", updated: "When it last changed." },
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
