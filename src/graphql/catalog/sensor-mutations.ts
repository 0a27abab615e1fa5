import { setEnabled } from "../../access/rows.ts";
import { createSensor, deleteSensor, updateSensor } from "../../catalog/sensor.ts";
import { addEntityMutations } from "../kit/entity.ts";
import { Sensor } from "./sensor.ts";

addEntityMutations({
  kind: "Sensor",
  noun: "sensor",
  resource: "sensor",
  table: "sensors",
  ref: Sensor,
  fields: (t, isNew) => ({
    runtime: t.string({ required: isNew, description: "The ref of its runtime, such as `core.sensor.python`." }),
    entrypoint: t.string({
      required: isNew,
      description: "What it runs: the path of a file below its pack's directory.",
    }),
    label: t.string({ description: "Its display name; its ref by default." }),
    description: t.string({ description: "What it watches." }),
    enabled: t.boolean({ description: "Whether it may run; true by default." }),
    paramSchema: t.field({ type: "JSONObject", description: "The settings that it has, by name." }),
    config: t.field({
      type: "JSONObject",
      description: "The values of all its settings. A secret sent back in its masked form keeps its value.",
    }),
  }),
  create: {
    description: "Creates a sensor by hand. It is stored; this version does not run sensors yet.",
    verb: createSensor,
  },
  update: {
    description: "Changes a sensor. For a sensor loaded from a pack's files, only `enabled` can be changed.",
    verb: updateSensor,
  },
  enable: {
    on: "it may run.",
    off: "it may not run.",
    verb: setEnabled("sensor"),
  },
  delete: {
    description: "Deletes a sensor that was created by hand. Its triggers and events keep its ref.",
    verb: deleteSensor,
  },
});
