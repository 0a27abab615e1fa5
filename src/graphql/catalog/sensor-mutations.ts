import { setEnabled } from "../../catalog/locked.ts";
import { createSensor, deleteSensor, updateSensor } from "../../catalog/sensor.ts";
import { sensor } from "../../db/tables/sensor.ts";
import { builder } from "../kit/builder.ts";
import {
  addDeletion,
  addRowMutation,
  addSwitch,
  expectedUpdated,
  type Fields,
  idempotencyKey,
} from "../kit/mutation-field.ts";
import { Sensor } from "./sensor.ts";

const changeable = (t: Fields) => ({
  label: t.string({ description: "Its name for people; its ref unless said otherwise." }),
  description: t.string({ description: "What it watches; null empties it." }),
  enabled: t.boolean({ description: "Whether it may run; true unless said otherwise." }),
  paramSchema: t.field({ type: "JSONObject", description: "Its settings, by name; null empties it." }),
  config: t.field({
    type: "JSONObject",
    description: "The values of its settings, all of them; a secret that comes back as it is shown stays.",
  }),
});
const runtimeHelp = "The ref of its runtime, such as `core.sensor.python`.";
const entrypointHelp = "What is run: the path of a file below its pack's directory.";

const CreateSensorInput = builder.inputType("CreateSensorInput", {
  description: "A sensor to make. It is stored; this version does not run sensors yet.",
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

const UpdateSensorInput = builder.inputType("UpdateSensorInput", {
  description: "What to change of a sensor; whatever is left out stays.",
  fields: (t) => ({
    ref: t.string({ required: true, description: "The sensor's ref." }),
    expectedUpdated: expectedUpdated(t),
    runtime: t.string({ description: runtimeHelp }),
    entrypoint: t.string({ description: entrypointHelp }),
    ...changeable(t),
  }),
});

const about = { table: "sensors", ref: Sensor } as const;

addRowMutation({
  ...about,
  name: "createSensor",
  may: "sensor:create",
  description: "Makes a sensor by hand.",
  input: CreateSensorInput,
  about: "The sensor.",
  payload: ["sensor", "The new sensor."],
  run: (ctx, input) => createSensor(ctx.engine, ctx.session, input),
});

addRowMutation({
  ...about,
  name: "updateSensor",
  may: "sensor:update",
  description: "Changes a sensor; of a pack's own only whether it is enabled.",
  input: UpdateSensorInput,
  about: "The sensor and what to change of it.",
  payload: ["sensor", "The sensor as it is now."],
  run: (ctx, { ref, expectedUpdated: expected, ...patch }) =>
    updateSensor(ctx.engine, ctx.session, { ref, expectedUpdated: expected ?? null, patch }),
});

addSwitch({
  ...about,
  kind: "Sensor",
  noun: "sensor",
  may: "sensor:update",
  on: "it may run.",
  off: "it may not run.",
  run: (ctx, input) => setEnabled(ctx.engine, ctx.session, { table: sensor, ...input }),
});

addDeletion(
  {
    kind: "Sensor",
    noun: "sensor",
    may: "sensor:delete",
    description: "Deletes a sensor that was made by hand. Its triggers and events stay and keep its ref.",
  },
  (ctx, input) => deleteSensor(ctx.engine, ctx.session, input),
);
