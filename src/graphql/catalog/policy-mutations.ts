import { setEnabled } from "../../catalog/locked.ts";
import { createPolicy, deletePolicy, updatePolicy } from "../../catalog/policy.ts";
import { policy } from "../../db/tables/policy.ts";
import { builder } from "../kit/builder.ts";
import { PolicyMethod } from "../kit/enums.ts";
import {
  addDeletion,
  addRowMutation,
  addSwitch,
  expectedUpdated,
  type Fields,
  idempotencyKey,
} from "../kit/mutation-field.ts";
import { Policy } from "./policy.ts";

const changeable = (t: Fields) => ({
  name: t.string({ description: "Its name for people; its ref unless said otherwise." }),
  description: t.string({ description: "What it is for; null empties it." }),
  enabled: t.boolean({ description: "Whether it limits; true unless said otherwise." }),
  priority: t.int({ description: "Of several for one execution the highest decides; 0 unless said otherwise." }),
  action: t.string({ description: "The ref of the one action that it is about; not together with `pack`." }),
  pack: t.string({ description: "The ref of the pack whose actions it is about; all actions without either." }),
  parameters: t.stringList({
    description: "At most 10 paths in the action's parameters; each combination of their values is limited by itself.",
  }),
  method: t.field({
    type: PolicyMethod,
    description: "What becomes of an execution above the threshold; needs one.",
  }),
  threshold: t.int({ description: "How many may run at once; together with `method`. Null: no such limit." }),
  rateMax: t.int({ description: "How many may start within the window; together with it. Null: no such limit." }),
  rateWindowSeconds: t.int({ description: "The window, in seconds." }),
  tags: t.stringList({ description: "Words to find it by." }),
});

const CreatePolicyInput = builder.inputType("CreatePolicyInput", {
  description: "A policy to make. It needs a threshold, a rate, or both.",
  fields: (t) => ({
    ref: t.string({
      required: true,
      description: "Its ref, `pack.name`; the pack must exist (`default` always does).",
    }),
    ...changeable(t),
    idempotencyKey: idempotencyKey(t),
  }),
});

const UpdatePolicyInput = builder.inputType("UpdatePolicyInput", {
  description: "What to change of a policy; whatever is left out stays.",
  fields: (t) => ({
    ref: t.string({ required: true, description: "The policy's ref." }),
    expectedUpdated: expectedUpdated(t),
    ...changeable(t),
  }),
});

const about = { table: "policies", ref: Policy } as const;

addRowMutation({
  ...about,
  name: "createPolicy",
  may: "policy:create",
  description: "Makes a policy. It takes a grant that reaches as far as what it is about.",
  input: CreatePolicyInput,
  about: "The policy.",
  payload: ["policy", "The new policy."],
  run: (ctx, input) => createPolicy(ctx.engine, ctx.session, input),
});

addRowMutation({
  ...about,
  name: "updatePolicy",
  may: "policy:update",
  description: "Changes a policy. It takes a grant that reaches as far as what it is about, before and after.",
  input: UpdatePolicyInput,
  about: "The policy and what to change of it.",
  payload: ["policy", "The policy as it is now."],
  run: (ctx, { ref, expectedUpdated: expected, ...patch }) =>
    updatePolicy(ctx.engine, ctx.session, { ref, expectedUpdated: expected ?? null, patch }),
});

addSwitch({
  ...about,
  kind: "Policy",
  noun: "policy",
  may: "policy:update",
  on: "it limits.",
  off: "it does not limit.",
  run: (ctx, input) => setEnabled(ctx.engine, ctx.session, { table: policy, ...input }),
});

addDeletion({ kind: "Policy", noun: "policy", may: "policy:delete", description: "Deletes a policy." }, (ctx, input) =>
  deletePolicy(ctx.engine, ctx.session, input),
);
