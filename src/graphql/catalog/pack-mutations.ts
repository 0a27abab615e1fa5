import { createPack, deletePack, updatePack } from "../../catalog/pack.ts";
import { builder } from "../kit/builder.ts";
import { addDeletion, addRowMutation, expectedUpdated, type Fields, idempotencyKey } from "../kit/mutation-field.ts";
import { Pack } from "./pack.ts";

const changeable = (t: Fields) => ({
  label: t.string({ description: "Its name for people; its ref unless said otherwise." }),
  description: t.string({ description: "What it is for; null empties it." }),
  version: t.string({ description: "Its semantic version; 1.0.0 unless said otherwise." }),
  confSchema: t.field({ type: "JSONObject", description: "Its settings, by name: type, default, limits." }),
  config: t.field({
    type: "JSONObject",
    description:
      "The values of its settings, all of them; defaults are filled in, and a secret that comes back as it is shown stays.",
  }),
  meta: t.field({ type: "JSONObject", description: "Whatever else is to be said of it." }),
  tags: t.stringList({ description: "Words to find it by." }),
  runtimeDeps: t.stringList({ description: "The refs of the runtimes that it needs." }),
  dependencies: t.stringList({ description: "The refs of the packs that it needs." }),
});

const CreatePackInput = builder.inputType("CreatePackInput", {
  description: "A pack to make, for things that are made by hand.",
  fields: (t) => ({
    ref: t.string({ required: true, description: "Its ref: lower case, a letter first, at least two characters." }),
    ...changeable(t),
    idempotencyKey: idempotencyKey(t),
  }),
});

const UpdatePackInput = builder.inputType("UpdatePackInput", {
  description: "What to change of a pack; whatever is left out stays.",
  fields: (t) => ({
    ref: t.string({ required: true, description: "The pack's ref." }),
    expectedUpdated: expectedUpdated(t),
    ...changeable(t),
  }),
});

const about = { table: "packs", ref: Pack } as const;

addRowMutation({
  ...about,
  name: "createPack",
  may: "pack:create",
  description: "Makes a pack for things that are made by hand.",
  input: CreatePackInput,
  about: "The pack.",
  payload: ["pack", "The new pack."],
  run: (ctx, input) => createPack(ctx.engine, ctx.session, input),
});

addRowMutation({
  ...about,
  name: "updatePack",
  may: "pack:update",
  description: "Changes a pack; of one that comes from files only its config.",
  input: UpdatePackInput,
  about: "The pack and what to change of it.",
  payload: ["pack", "The pack as it is now."],
  run: (ctx, { ref, expectedUpdated: expected, ...patch }) =>
    updatePack(ctx.engine, ctx.session, { ref, expectedUpdated: expected ?? null, patch }),
});

addDeletion(
  {
    kind: "Pack",
    noun: "pack",
    may: "pack:delete",
    description:
      "Deletes a pack with everything in it; what ran of it keeps the refs. Refused while it owns keys, or another pack's action runs in one of its runtimes.",
  },
  (ctx, input) => deletePack(ctx.engine, ctx.session, input),
);
