import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { Policy } from "./policy.ts";

const PolicyChangedMessage = builder.objectRef<Change<"policy">>("PolicyChangedMessage").implement({
  description: "A policy was created, changed, enabled, disabled or deleted.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    policyId: t.globalID({
      description: "The policy's id.",
      resolve: ({ entityId }) => ({ type: Policy, id: entityId }),
    }),
    ref: t.string({ description: "Its ref.", resolve: ({ content }) => content.ref }),
    enabled: t.boolean({ description: "Whether it applies.", resolve: ({ content }) => content.enabled }),
    deleted: t.boolean({
      description: "Whether the policy was deleted; the message has its last state.",
      resolve: ({ activity }) => activity === "deleted",
    }),
    policy: t.field({
      type: Policy,
      nullable: true,
      description: describeLoaded("The policy as it is now; null if it was deleted."),
      resolve: loadEntity<typeof Policy.$inferType>("Policy"),
    }),
  }),
});

const { id, text, flag } = liveFields<"policy">();

addLive({
  subscription: "policyChanged",
  type: PolicyChangedMessage,
  where: defineLiveWhere("PolicyChangedWhere", "Selects policies: all given conditions must hold.", {
    channel: "policy",
    fields: {
      id: id("Policy", "The policy itself.", (change) => change.entityId),
      ref: text("Its ref.", ({ content }) => content.ref),
      enabled: flag("Whether it applies.", ({ content }) => content.enabled),
    },
  }),
  which: "The policies to follow",
  description:
    "Every policy when it is created, changed, enabled, disabled or deleted, each exactly once and in order.",
});
