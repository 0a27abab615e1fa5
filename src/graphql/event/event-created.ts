import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { Event } from "./event.ts";

const EventCreatedMessage = builder.objectRef<Change<"event">>("EventCreatedMessage").implement({
  description: "An event was stored.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    eventId: t.globalID({ description: "Its id.", resolve: ({ entityId }) => ({ type: Event, id: entityId }) }),
    triggerRef: t.string({ description: "The trigger's ref.", resolve: ({ content }) => content.triggerRef }),
    sourceRef: t.string({
      nullable: true,
      description: "The ref of the sensor that emitted it.",
      resolve: ({ content }) => content.sourceRef,
    }),
    traceTag: t.string({ description: "Its trace tag.", resolve: ({ content }) => content.traceTag }),
    event: t.field({
      type: Event,
      nullable: true,
      description: describeLoaded("The event as it is now; null if it was deleted."),
      resolve: loadEntity<typeof Event.$inferType>("Event"),
    }),
  }),
});

const { id, text } = liveFields<"event">();

addLive({
  subscription: "eventCreated",
  type: EventCreatedMessage,
  where: defineLiveWhere("EventCreatedWhere", "Selects events: all given conditions must hold.", {
    channel: "event",
    activities: ["created"],
    fields: {
      id: id("Event", "The event itself.", (change) => change.entityId),
      trigger: text("The trigger's ref.", ({ content }) => content.triggerRef),
      pack: text("The ref of the trigger's pack.", (change) => change.packRef),
      source: text("The ref of the sensor that emitted it.", ({ content }) => content.sourceRef),
      traceTag: text("Its trace tag.", ({ content }) => content.traceTag),
    },
  }),
  which: "The events to follow",
  description: "Every event that is stored, each exactly once.",
});
