import { createRuntime, deleteRuntime, prepareRuntime, updateRuntime } from "../../catalog/runtime.ts";
import { addEntityMutations } from "../kit/entity.ts";
import { Runtime } from "./runtime.ts";

addEntityMutations({
  kind: "Runtime",
  noun: "runtime",
  resource: "runtime",
  table: "runtimes",
  ref: Runtime,
  fields: (t) => ({
    name: t.string({ description: "Its display name; the last part of its ref by default." }),
    description: t.string({ description: "What it is." }),
    distributions: t.field({
      type: "JSONObject",
      description:
        "How a worker checks that it has the interpreter: `commands`, a list of `{command, args, pattern}`, and `min_version`.",
    }),
    installation: t.field({ type: "JSONObject", description: "How an environment for a pack is built." }),
  }),
  create: {
    description:
      "Creates a runtime. Its ref determines whether actions or sensors run in it. In this version workers serve only the runtimes of the core pack.",
    refDescription:
      "Its ref, `pack.action.name` or `pack.sensor.name`. The pack must exist and must not be loaded from files.",
    prepare: ({ jobs }, input) => prepareRuntime(jobs, input),
    verb: createRuntime,
  },
  update: { description: "Changes a runtime that was created by hand.", verb: updateRuntime },
  delete: {
    description: "Deletes a runtime that was created by hand, and its sensors. Refused while an action uses it.",
    verb: deleteRuntime,
  },
});
