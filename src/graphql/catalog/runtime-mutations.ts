import { createRuntime, deleteRuntime, updateRuntime } from "../../catalog/runtime.ts";
import { builder } from "../kit/builder.ts";
import { addDeletion, addRowMutation, expectedUpdated, type Fields, idempotencyKey } from "../kit/mutation-field.ts";
import { Runtime } from "./runtime.ts";

const changeable = (t: Fields) => ({
  name: t.string({ description: "Its name for people; the last part of its ref unless said otherwise." }),
  description: t.string({ description: "What it is; null empties it." }),
  distributions: t.field({
    type: "JSONObject",
    description:
      "How a worker finds out whether it has the interpreter: `commands`, a list of `{command, args, pattern}`, and `min_version`.",
  }),
  installation: t.field({
    type: "JSONObject",
    description: "How an environment for a pack is built; null empties it.",
  }),
});

const CreateRuntimeInput = builder.inputType("CreateRuntimeInput", {
  description: "A runtime to make. It is stored; this version's workers serve the runtimes of the core pack only.",
  fields: (t) => ({
    ref: t.string({
      required: true,
      description: "Its ref, `pack.action.name` or `pack.sensor.name`; the pack must exist and not come from files.",
    }),
    ...changeable(t),
    idempotencyKey: idempotencyKey(t),
  }),
});

const UpdateRuntimeInput = builder.inputType("UpdateRuntimeInput", {
  description: "What to change of a runtime; whatever is left out stays.",
  fields: (t) => ({
    ref: t.string({ required: true, description: "The runtime's ref." }),
    expectedUpdated: expectedUpdated(t),
    ...changeable(t),
  }),
});

const about = { table: "runtimes", ref: Runtime } as const;

addRowMutation({
  ...about,
  name: "createRuntime",
  may: "runtime:create",
  description: "Makes a runtime; its ref says what runs in it.",
  input: CreateRuntimeInput,
  about: "The runtime.",
  payload: ["runtime", "The new runtime."],
  run: (ctx, input) => createRuntime(ctx.engine, ctx.session, input),
});

addRowMutation({
  ...about,
  name: "updateRuntime",
  may: "runtime:update",
  description: "Changes a runtime that was made by hand.",
  input: UpdateRuntimeInput,
  about: "The runtime and what to change of it.",
  payload: ["runtime", "The runtime as it is now."],
  run: (ctx, { ref, expectedUpdated: expected, ...patch }) =>
    updateRuntime(ctx.engine, ctx.session, { ref, expectedUpdated: expected ?? null, patch }),
});

addDeletion(
  {
    kind: "Runtime",
    noun: "runtime",
    may: "runtime:delete",
    description: "Deletes a runtime that was made by hand, with its sensors. Refused while an action runs in it.",
  },
  (ctx, input) => deleteRuntime(ctx.engine, ctx.session, input),
);
