import type { enforcementStatus } from "../../db/schema.ts";
import type { Change } from "../../notifier/page.ts";
import { Event } from "../event/event.ts";
import { builder } from "../kit/builder.ts";
import { EnforcementStatus } from "../kit/enums.ts";
import { EnforcementStatusFilter, IDFilter, StringFilter } from "../kit/filter-inputs.ts";
import { addLive, atItsPrice, defineLiveWhere, LiveMessage, loadEntity, telling, told } from "../kit/live.ts";
import { Enforcement } from "./enforcement.ts";

type Status = (typeof enforcementStatus.enumValues)[number];

const EnforcementChangedMessage = builder.objectRef<Change>("EnforcementChangedMessage").implement({
  description: "A rule matched an event, or its match was dealt with.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    enforcementId: t.globalID({
      description: "The enforcement's id.",
      resolve: ({ entityId }) => ({ type: Enforcement, id: entityId }),
    }),
    ruleRef: t.string({ description: "The rule's ref.", resolve: (change) => String(told(change, "ruleRef")) }),
    triggerRef: t.string({
      description: "The ref of the rule's trigger.",
      resolve: (change) => String(told(change, "triggerRef")),
    }),
    eventId: t.globalID({
      nullable: true,
      description: "The id of the event that was matched; null when it was deleted.",
      resolve: (change) => {
        const event = told(change, "event");
        return event === null ? null : { type: Event, id: String(event) };
      },
    }),
    status: t.field({
      type: EnforcementStatus,
      description: "What became of it.",
      resolve: (change) => told(change, "status") as Status, // as the database wrote it
    }),
    enforcement: t.field({
      type: Enforcement,
      nullable: true,
      description: atItsPrice("The enforcement as it is now; null when it is gone."),
      resolve: loadEntity<typeof Enforcement.$inferType>("Enforcement"),
    }),
  }),
});

addLive({
  subscription: "enforcementChanged",
  query: "enforcementChanges",
  type: EnforcementChangedMessage,
  where: defineLiveWhere("EnforcementChangedWhere", "Which enforcements are followed: all that is given must hold.", {
    channel: "enforcement",
    fields: {
      id: {
        type: IDFilter,
        description: "The enforcement itself.",
        read: (change) => String(change.entityId),
        typename: "Enforcement",
      },
      rule: { type: StringFilter, description: "The rule's ref.", read: telling("ruleRef") },
      pack: { type: StringFilter, description: "The ref of the rule's pack.", read: (change) => change.packRef },
      trigger: { type: StringFilter, description: "The ref of the rule's trigger.", read: telling("triggerRef") },
      event: { type: IDFilter, description: "The event that was matched.", read: telling("event"), typename: "Event" },
      status: { type: EnforcementStatusFilter, description: "What became of it.", read: telling("status") },
    },
  }),
  which: "Which enforcements",
  description:
    "Every match of a rule and what becomes of it, each change exactly once and each enforcement's in order.",
});
