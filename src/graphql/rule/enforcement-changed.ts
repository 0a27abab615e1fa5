import type { Change } from "../../notifier/page.ts";
import { Event } from "../event/event.ts";
import { builder } from "../kit/builder.ts";
import { EnforcementStatus } from "../kit/enums.ts";
import { contentOf } from "../kit/event-content.ts";
import { EnforcementStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { Enforcement } from "./enforcement.ts";

const EnforcementChangedMessage = builder.objectRef<Change<"enforcement">>("EnforcementChangedMessage").implement({
  description: "A rule matched an event, its match was processed, or the enforcement was deleted.",
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
      description: "The id of the matched event; null if it was deleted, or you may not read it.",
      resolve: ({ content }, _args, ctx) => {
        const event = contentOf(ctx, content.triggerRef, content.event);
        return event === null ? null : { type: Event, id: event };
      },
    }),
    status: t.field({
      type: EnforcementStatus,
      description: "The status.",
      resolve: ({ content }) => content.status,
    }),
    deleted: t.boolean({
      description: "Whether the enforcement was deleted; the message has its last state.",
      resolve: ({ activity }) => activity === "deleted",
    }),
    enforcement: t.field({
      type: Enforcement,
      nullable: true,
      description: describeLoaded("The enforcement as it is now; null if it was deleted."),
      resolve: loadEntity<typeof Enforcement.$inferType>("Enforcement"),
    }),
  }),
});

const { id, text, choice } = liveFields<"enforcement">();

addLive({
  subscription: "enforcementChanged",
  type: EnforcementChangedMessage,
  where: defineLiveWhere("EnforcementChangedWhere", "Selects enforcements: all given conditions must hold.", {
    channel: "enforcement",
    fields: {
      id: id("Enforcement", "The enforcement itself.", (change) => change.entityId),
      rule: text("The rule's ref.", ({ content }) => content.ruleRef),
      pack: text("The ref of the rule's pack.", (change) => change.packRef),
      trigger: text("The ref of the rule's trigger.", ({ content }) => content.triggerRef),
      event: id("Event", "The matched event.", ({ content }) => content.event),
      status: choice(EnforcementStatusFilter, "The status.", ({ content }) => content.status),
    },
  }),
  which: "The enforcements to follow",
  description:
    "Every enforcement when it is created and when its status changes, each exactly once and in order per enforcement.",
});
