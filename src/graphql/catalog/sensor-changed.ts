import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { Sensor } from "./sensor.ts";

const SensorChangedMessage = builder.objectRef<Change<"sensor">>("SensorChangedMessage").implement({
  description:
    "A sensor was created, changed or deleted, or its process started, ended or failed. Events send no message.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    sensorId: t.globalID({
      description: "The sensor's id.",
      resolve: ({ entityId }) => ({ type: Sensor, id: entityId }),
    }),
    ref: t.string({ description: "Its ref.", resolve: ({ content }) => content.ref }),
    enabled: t.boolean({ description: "Whether it may run.", resolve: ({ content }) => content.enabled }),
    deleted: t.boolean({
      description: "Whether the sensor was deleted; the message has its last state.",
      resolve: ({ activity }) => activity === "deleted",
    }),
    sensor: t.field({
      type: Sensor,
      nullable: true,
      description: describeLoaded("The sensor as it is now; null if it was deleted."),
      resolve: loadEntity<typeof Sensor.$inferType>("Sensor"),
    }),
  }),
});

const { id, text, flag } = liveFields<"sensor">();

addLive({
  subscription: "sensorChanged",
  type: SensorChangedMessage,
  where: defineLiveWhere("SensorChangedWhere", "Selects sensors: all given conditions must hold.", {
    channel: "sensor",
    fields: {
      id: id("Sensor", "The sensor itself.", (change) => change.entityId),
      ref: text("Its ref.", ({ content }) => content.ref),
      enabled: flag("Whether it may run.", ({ content }) => content.enabled),
    },
  }),
  which: "The sensors to follow",
  description: "Every sensor when it or its process changes, each change exactly once and in order.",
});
