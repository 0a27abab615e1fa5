import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { IDFilter, StringFilter } from "../kit/filter-inputs.ts";
import { addLive, atItsPrice, defineLiveWhere, LiveMessage, loadEntity, telling, told } from "../kit/live.ts";
import { Event } from "./event.ts";

const EventCreatedMessage = builder.objectRef<Change>("EventCreatedMessage").implement({
  description: "An event was stored.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    eventId: t.globalID({ description: "Its id.", resolve: ({ entityId }) => ({ type: Event, id: entityId }) }),
    triggerRef: t.string({
      description: "The trigger's ref.",
      resolve: (change) => String(told(change, "triggerRef")),
    }),
    sourceRef: t.string({
      nullable: true,
      description: "The ref of the sensor that saw it.",
      resolve: (change) => told(change, "sourceRef") as string | null, // a text or null in the log
    }),
    traceTag: t.string({ description: "Its trace tag.", resolve: (change) => String(told(change, "traceTag")) }),
    event: t.field({
      type: Event,
      nullable: true,
      description: atItsPrice("The event as it is now; null when it is gone."),
      resolve: loadEntity<typeof Event.$inferType>("Event"),
    }),
  }),
});

addLive({
  subscription: "eventCreated",
  query: "eventsCreated",
  type: EventCreatedMessage,
  where: defineLiveWhere("EventCreatedWhere", "Which events are told: all that is given must hold.", {
    channel: "event",
    fields: {
      id: {
        type: IDFilter,
        description: "The event itself.",
        read: (change) => String(change.entityId),
        typename: "Event",
      },
      trigger: { type: StringFilter, description: "The trigger's ref.", read: telling("triggerRef") },
      pack: { type: StringFilter, description: "The ref of the trigger's pack.", read: (change) => change.packRef },
      source: { type: StringFilter, description: "The ref of the sensor that saw it.", read: telling("sourceRef") },
      traceTag: { type: StringFilter, description: "Its trace tag.", read: telling("traceTag") },
    },
  }),
  which: "Which events",
  description: "Every event that is stored, each exactly once.",
});
