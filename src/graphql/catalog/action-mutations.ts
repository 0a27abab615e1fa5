import { setEnabled } from "../../access/rows.ts";
import { createAction, deleteAction, updateAction } from "../../catalog/action.ts";
import { prepareAction } from "../../catalog/queues.ts";
import { addEntityMutations } from "../kit/entity.ts";
import { OutputFormat, ParameterDelivery, ParameterFormat, WorkerLoss } from "../kit/enums.ts";
import { Action } from "./action.ts";
import { RetryInput } from "./retry.ts";

addEntityMutations({
  kind: "Action",
  noun: "action",
  resource: "action",
  table: "actions",
  ref: Action,
  fields: (t, isNew) => ({
    runtime: t.string({ required: isNew, description: "The ref of its runtime, such as `core.action.builtin`." }),
    entrypoint: t.string({
      required: isNew,
      description:
        "Its entrypoint: that of an action loaded from a pack's files, in the same runtime. In `core.action.builtin` it can be that of any pack's action, such as `core.http_request`; otherwise it must be a file that an action of the same pack runs.",
    }),
    label: t.string({ description: "Its display name; its ref by default." }),
    description: t.string({ description: "What it does." }),
    enabled: t.boolean({ description: "Whether it can be executed; true by default." }),
    paramSchema: t.field({
      type: "JSONObject",
      description: "Its parameters, by name: type, default, limits. Null: it accepts any.",
    }),
    outSchema: t.field({ type: "JSONObject", description: "What its result contains, by name." }),
    parameterDelivery: t.field({
      type: ParameterDelivery,
      description: "How it receives its parameters; STDIN by default.",
    }),
    parameterFormat: t.field({ type: ParameterFormat, description: "The format of its parameters; JSON by default." }),
    outputFormat: t.field({ type: OutputFormat, description: "How its output is parsed; TEXT by default." }),
    timeoutSeconds: t.int({
      description: "How long it may run, in seconds, at most 30 days. Null: the default, 600 seconds.",
    }),
    retry: t.field({
      type: RetryInput,
      description: "When and how often its executions are retried; never by default.",
    }),
    onWorkerLoss: t.field({
      type: WorkerLoss,
      description: "What happens to its executions when their worker is lost; ABANDON by default.",
    }),
    permissionSetRefs: t.stringList({
      description: "The refs of the permission sets that its executions get. You must hold every grant of each.",
    }),
    workerSelector: t.field({
      type: "JSONObject",
      description:
        "The labels that a worker must have, by name; one without them does not take its executions. None by default.",
    }),
  }),
  create: {
    description:
      "Creates an action by hand that runs the entrypoint of an action loaded from a pack's files. You must be allowed to execute that action.",
    prepare: prepareAction,
    verb: createAction,
  },
  update: {
    description: "Changes an action. For an action loaded from a pack's files, only `enabled` can be changed.",
    prepare: prepareAction,
    verb: updateAction,
  },
  enable: {
    on: "it can be executed.",
    off: "it cannot be executed; running executions continue.",
    verb: setEnabled("action"),
  },
  delete: {
    description:
      "Deletes an action that was created by hand, with its keys and policies. Rules and executions keep its ref.",
    verb: deleteAction,
  },
});
