import { createAction, deleteAction, updateAction } from "../../catalog/action.ts";
import { setEnabled } from "../../catalog/locked.ts";
import { action } from "../../db/tables/action.ts";
import { builder } from "../kit/builder.ts";
import { OutputFormat, ParameterDelivery, ParameterFormat, WorkerLoss } from "../kit/enums.ts";
import {
  addDeletion,
  addRowMutation,
  addSwitch,
  expectedUpdated,
  type Fields,
  idempotencyKey,
} from "../kit/mutation-field.ts";
import { Action } from "./action.ts";

const changeable = (t: Fields) => ({
  label: t.string({ description: "Its name for people; its ref unless said otherwise." }),
  description: t.string({ description: "What it does; null empties it." }),
  enabled: t.boolean({ description: "Whether it may be run; true unless said otherwise." }),
  paramSchema: t.field({
    type: "JSONObject",
    description: "Its parameters, by name: type, default, limits. Null: it takes any.",
  }),
  outSchema: t.field({ type: "JSONObject", description: "What its result holds, by name; null empties it." }),
  parameterDelivery: t.field({
    type: ParameterDelivery,
    description: "How it gets its parameters; STDIN unless said otherwise.",
  }),
  parameterFormat: t.field({
    type: ParameterFormat,
    description: "How its parameters are written; JSON unless said otherwise.",
  }),
  outputFormat: t.field({
    type: OutputFormat,
    description: "How its output becomes its result; TEXT unless said otherwise.",
  }),
  timeoutSeconds: t.int({
    description: "How long it may run, in seconds, at most 30 days; null: as long as any other, 600.",
  }),
  onWorkerLoss: t.field({
    type: WorkerLoss,
    description: "What becomes of its executions if their worker is lost; ABANDON unless said otherwise.",
  }),
  permissionSetRefs: t.stringList({
    description: "The refs of the permission sets that its executions get; you must hold each of them whole.",
  }),
  workerSelector: t.field({ type: "JSONObject", description: "The labels, by name, that a worker must have." }),
});
const runtimeHelp = "The ref of its runtime, such as `core.action.builtin`.";
const entrypointHelp =
  "What is run: the same as by an action of a pack's files in that runtime. In `core.action.builtin` one of any pack, such as `core.http_request`; else a file that an action of the same pack runs.";

const CreateActionInput = builder.inputType("CreateActionInput", {
  description: "An action to make by hand: another way of running what an action of a pack's files runs.",
  fields: (t) => ({
    ref: t.string({
      required: true,
      description: "Its ref, `pack.name`; the pack must exist (`default` always does).",
    }),
    runtime: t.string({ required: true, description: runtimeHelp }),
    entrypoint: t.string({ required: true, description: entrypointHelp }),
    ...changeable(t),
    idempotencyKey: idempotencyKey(t),
  }),
});

const UpdateActionInput = builder.inputType("UpdateActionInput", {
  description: "What to change of an action; whatever is left out stays.",
  fields: (t) => ({
    ref: t.string({ required: true, description: "The action's ref." }),
    expectedUpdated: expectedUpdated(t),
    runtime: t.string({ description: runtimeHelp }),
    entrypoint: t.string({ description: entrypointHelp }),
    ...changeable(t),
  }),
});

const about = { table: "actions", ref: Action } as const;

addRowMutation({
  ...about,
  name: "createAction",
  may: "action:create",
  description: "Makes an action by hand. You must be able to run what it runs.",
  input: CreateActionInput,
  about: "The action.",
  payload: ["action", "The new action."],
  run: (ctx, input) => createAction(ctx.engine, ctx.session, input),
});

addRowMutation({
  ...about,
  name: "updateAction",
  may: "action:update",
  description: "Changes an action; of a pack's own only whether it is enabled.",
  input: UpdateActionInput,
  about: "The action and what to change of it.",
  payload: ["action", "The action as it is now."],
  run: (ctx, { ref, expectedUpdated: expected, ...patch }) =>
    updateAction(ctx.engine, ctx.session, { ref, expectedUpdated: expected ?? null, patch }),
});

addSwitch({
  ...about,
  kind: "Action",
  noun: "action",
  may: "action:update",
  on: "it may be run.",
  off: "it may not be run; what runs goes on.",
  run: (ctx, input) => setEnabled(ctx.engine, ctx.session, { table: action, ...input }),
});

addDeletion(
  {
    kind: "Action",
    noun: "action",
    may: "action:delete",
    description:
      "Deletes an action that was made by hand, with its keys and policies. Rules and executions keep its ref.",
  },
  (ctx, input) => deleteAction(ctx.engine, ctx.session, input),
);
