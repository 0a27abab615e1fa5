import { rebuildEnvironment } from "../../catalog/environment.ts";
import { createPack, deletePack, updatePack } from "../../catalog/pack.ts";
import { builder } from "../kit/builder.ts";
import { addEntityMutations } from "../kit/entity.ts";
import { addRowMutation } from "../kit/mutation.ts";
import { Pack } from "./pack.ts";

addEntityMutations({
  kind: "Pack",
  noun: "pack",
  resource: "pack",
  table: "packs",
  ref: Pack,
  fields: (t) => ({
    label: t.string({ description: "Its display name; its ref by default." }),
    description: t.string({ description: "What it is for." }),
    version: t.string({ description: "Its semantic version; 1.0.0 by default." }),
    confSchema: t.field({
      type: "JSONObject",
      description: "The settings that it has, by name: type, default, limits.",
    }),
    config: t.field({
      type: "JSONObject",
      description:
        "The values of all its settings. Defaults are filled in; a secret sent back in its masked form keeps its value.",
    }),
    meta: t.field({ type: "JSONObject", description: "Any further data about it." }),
    tags: t.stringList({ description: "Keywords to find it by." }),
    runtimeDeps: t.stringList({ description: "The refs of the runtimes that it needs." }),
    dependencies: t.stringList({
      description:
        "The packs that it needs: refs, with a range of versions where not every one will do, such as `greetings@^1.2`.",
    }),
  }),
  create: {
    description: "Creates a pack for entities that are created by hand.",
    refDescription: "Its ref: lower case, a letter first, at least two characters.",
    verb: createPack,
  },
  update: {
    description:
      "Changes a pack. For a pack loaded from files, only `config` can be changed. A version that other packs cannot use is refused.",
    verb: updatePack,
  },
  delete: {
    description:
      "Deletes a pack and everything in it; executions keep its refs. Refused while other packs need it (`dependencies`), it owns keys, or an action of another pack uses one of its runtimes.",
    verb: deletePack,
  },
});

addRowMutation({
  table: "packs",
  ref: Pack,
  name: "rebuildEnvironment",
  may: "pack:update",
  description:
    "Lets a pack's environments for one runtime be built anew, in new directories: what runs keeps the old ones. `packChanged` follows the builds.",
  input: builder.inputType("RebuildEnvironmentInput", {
    description: "The environments to build.",
    fields: (t) => ({
      pack: t.string({ required: true, description: "The pack's ref." }),
      runtime: t.string({ required: true, description: "The runtime's ref, such as core.action.python." }),
    }),
  }),
  inputDescription: "The environments.",
  payload: ["pack", "The pack with its environments."],
  run: rebuildEnvironment,
});
