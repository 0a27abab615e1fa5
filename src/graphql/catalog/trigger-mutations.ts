import { setEnabled } from "../../catalog/locked.ts";
import { createTrigger, deleteTrigger, updateTrigger } from "../../catalog/trigger.ts";
import { trigger } from "../../db/tables/trigger.ts";
import { builder } from "../kit/builder.ts";
import {
  addDeletion,
  addRowMutation,
  addSwitch,
  expectedUpdated,
  type Fields,
  idempotencyKey,
} from "../kit/mutation-field.ts";
import { Trigger } from "./trigger.ts";

const changeable = (t: Fields) => ({
  label: t.string({ description: "Its name for people; its ref unless said otherwise." }),
  description: t.string({ description: "What it stands for; null empties it." }),
  enabled: t.boolean({ description: "Whether it takes events; true unless said otherwise." }),
  paramSchema: t.field({
    type: "JSONObject",
    description: "The parameters that a rule on it gives, by name; null: none.",
  }),
  outSchema: t.field({
    type: "JSONObject",
    description: "What its events' payloads must hold, by name; null: anything.",
  }),
  sensor: t.string({ description: "The ref of the sensor that watches for it; null: none." }),
});

const CreateTriggerInput = builder.inputType("CreateTriggerInput", {
  description: "A trigger to make.",
  fields: (t) => ({
    ref: t.string({
      required: true,
      description: "Its ref, `pack.name`; the pack must exist (`default` always does).",
    }),
    ...changeable(t),
    idempotencyKey: idempotencyKey(t),
  }),
});

const UpdateTriggerInput = builder.inputType("UpdateTriggerInput", {
  description: "What to change of a trigger; whatever is left out stays.",
  fields: (t) => ({
    ref: t.string({ required: true, description: "The trigger's ref." }),
    expectedUpdated: expectedUpdated(t),
    ...changeable(t),
  }),
});

const about = { table: "triggers", ref: Trigger } as const;

addRowMutation({
  ...about,
  name: "createTrigger",
  may: "trigger:create",
  description: "Makes a trigger.",
  input: CreateTriggerInput,
  about: "The trigger.",
  payload: ["trigger", "The new trigger."],
  run: (ctx, input) => createTrigger(ctx.engine, ctx.session, input),
});

addRowMutation({
  ...about,
  name: "updateTrigger",
  may: "trigger:update",
  description: "Changes a trigger; of a pack's own only whether it is enabled.",
  input: UpdateTriggerInput,
  about: "The trigger and what to change of it.",
  payload: ["trigger", "The trigger as it is now."],
  run: (ctx, { ref, expectedUpdated: expected, ...patch }) =>
    updateTrigger(ctx.engine, ctx.session, { ref, expectedUpdated: expected ?? null, patch }),
});

addSwitch({
  ...about,
  kind: "Trigger",
  noun: "trigger",
  may: "trigger:update",
  on: "it takes events.",
  off: "it takes no events.",
  run: (ctx, input) => setEnabled(ctx.engine, ctx.session, { table: trigger, ...input }),
});

addDeletion(
  {
    kind: "Trigger",
    noun: "trigger",
    may: "trigger:delete",
    description: "Deletes a trigger that was made by hand. Its rules and events stay and keep its ref.",
  },
  (ctx, input) => deleteTrigger(ctx.engine, ctx.session, input),
);
