import type { Change } from "../../notifier/page.ts";
import { Event } from "../event/event.ts";
import { builder } from "../kit/builder.ts";
import { EnforcementStatus } from "../kit/enums.ts";
import { EnforcementStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { Enforcement } from "./enforcement.ts";

const EnforcementChangedMessage = builder.objectRef<Change<"enforcement">>("EnforcementChangedMessage").implement({
  description: "A rule matched an event, or its match was processed.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    enforcementId: t.globalID({
      description: "The enforcement's id.",
      resolve: ({ entityId }) => ({ type: Enforcement, id: entityId }),
    }),
    ruleRef: t.string({ description: "The rule's ref.", resolve: ({ content }) => content.ruleRef }),
    triggerRef: t.string({
      description: "The ref of the rule's trigger.",
      resolve: ({ content }) => content.triggerRef,
    }),
    eventId: t.globalID({
      nullable: true,
      description: "The id of the event that was matched; null when it was deleted.",
      resolve: ({ content }) => (content.event === null ? null : { type: Event, id: content.event }),
    }),
    status: t.field({
      type: EnforcementStatus,
      description: "How far it has been processed.",
      resolve: ({ content }) => content.status,
    }),
    enforcement: t.field({
      type: Enforcement,
      nullable: true,
      description: describeLoaded("The enforcement as it is now; null when it is gone."),
      resolve: loadEntity<typeof Enforcement.$inferType>("Enforcement"),
    }),
  }),
});

const { id, text, choice } = liveFields<"enforcement">();

addLive({
  subscription: "enforcementChanged",
  type: EnforcementChangedMessage,
  where: defineLiveWhere("EnforcementChangedWhere", "Which enforcements are followed: all that is given must hold.", {
    channel: "enforcement",
    fields: {
      id: id("Enforcement", "The enforcement itself.", (change) => change.entityId),
      rule: text("The rule's ref.", ({ content }) => content.ruleRef),
      pack: text("The ref of the rule's pack.", (change) => change.packRef),
      trigger: text("The ref of the rule's trigger.", ({ content }) => content.triggerRef),
      event: id("Event", "The event that was matched.", ({ content }) => content.event),
      status: choice(EnforcementStatusFilter, "How far it has been processed.", ({ content }) => content.status),
    },
  }),
  which: "Which enforcements",
  description:
    "Every match of a rule and each change of its status, each exactly once and each enforcement's in order.",
});
