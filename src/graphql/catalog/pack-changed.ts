import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { Pack } from "./pack.ts";

const PackChangedMessage = builder.objectRef<Change<"pack">>("PackChangedMessage").implement({
  description: "A pack was created, changed or deleted, or one of its environments changed: its status or its log.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    packId: t.globalID({
      description: "The pack's id.",
      resolve: ({ entityId }) => ({ type: Pack, id: entityId }),
    }),
    ref: t.string({ description: "Its ref.", resolve: ({ content }) => content.ref }),
    deleted: t.boolean({
      description: "Whether the pack was deleted; the message has its last state.",
      resolve: ({ activity }) => activity === "deleted",
    }),
    pack: t.field({
      type: Pack,
      nullable: true,
      description: describeLoaded("The pack as it is now; null if it was deleted."),
      resolve: loadEntity<typeof Pack.$inferType>("Pack"),
    }),
  }),
});

const { id, text } = liveFields<"pack">();

addLive({
  subscription: "packChanged",
  type: PackChangedMessage,
  where: defineLiveWhere("PackChangedWhere", "Selects packs: all given conditions must hold.", {
    channel: "pack",
    activities: ["created", "updated", "deleted"],
    fields: {
      id: id("Pack", "The pack itself.", (change) => change.entityId),
      ref: text("Its ref.", ({ content }) => content.ref),
    },
  }),
  which: "The packs to follow",
  description: "Every pack when it or one of its environments changes, each change exactly once and in order.",
});
