import { setEnabled } from "../../access/rows.ts";
import { createTrigger, deleteTrigger, updateTrigger } from "../../catalog/trigger.ts";
import { addEntityMutations } from "../kit/entity.ts";
import { Trigger } from "./trigger.ts";

addEntityMutations({
  kind: "Trigger",
  noun: "trigger",
  resource: "trigger",
  table: "triggers",
  ref: Trigger,
  fields: (t) => ({
    label: t.string({ description: "Its display name; its ref by default." }),
    description: t.string({ description: "What it represents." }),
    enabled: t.boolean({ description: "Whether it accepts events; true by default." }),
    paramSchema: t.field({
      type: "JSONObject",
      description: "The parameters that its rules provide, by name. Null: none.",
    }),
    outSchema: t.field({
      type: "JSONObject",
      description: "What the payloads of its events must contain, by name. Null: anything.",
    }),
    sensor: t.string({ description: "The ref of the sensor that emits its events. Null: none." }),
  }),
  create: { description: "Creates a trigger.", verb: createTrigger },
  update: {
    description: "Changes a trigger. For a trigger loaded from a pack's files, only `enabled` can be changed.",
    verb: updateTrigger,
  },
  enable: {
    on: "it accepts events.",
    off: "it accepts no events.",
    verb: setEnabled("trigger"),
  },
  delete: {
    description: "Deletes a trigger that was created by hand. Its rules and events keep its ref.",
    verb: deleteTrigger,
  },
});
