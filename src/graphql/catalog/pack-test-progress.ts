import type { ChannelContent } from "../../db/channels.ts";
import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { TestProgressStatus } from "../kit/enums.ts";
import { TestProgressStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { mayKnowReference } from "../kit/references.ts";
import { Pack } from "./pack.ts";

type Progress = NonNullable<ChannelContent<"pack">["test"]>;
/** Entries of the activity `status` have it. */
const none: Progress = {
  ...{ execution: null, run: null, runner: null, status: "failed" },
  ...{ total: 0, passed: 0, failed: 0, skipped: 0, durationMs: 0 },
};
const testOf = ({ content }: Change<"pack">) => content.test ?? none;

const PackTestProgressMessage = builder.objectRef<Change<"pack">>("PackTestProgressMessage").implement({
  description: "A runner of a pack's tests started or ended, or the whole run ended.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    packId: t.globalID({ description: "The pack's id.", resolve: ({ entityId }) => ({ type: Pack, id: entityId }) }),
    ref: t.string({ description: "The pack's ref.", resolve: ({ content }) => content.ref }),
    executionId: t.globalID({
      nullable: true,
      description: "The id of the execution that runs the tests; null if you may not read it.",
      resolve: (change, _args, { session }) => {
        const { execution } = testOf(change);
        return execution !== null && mayKnowReference(session, "Execution", execution)
          ? { type: "Execution", id: execution }
          : null;
      },
    }),
    runner: t.string({
      nullable: true,
      description: "The runner's name; null: the whole run ended.",
      resolve: (change) => testOf(change).runner,
    }),
    status: t.field({
      type: TestProgressStatus,
      description: "How far it is.",
      resolve: (change) => testOf(change).status,
    }),
    total: t.int({ description: "The number of tests; 0 while they run.", resolve: (change) => testOf(change).total }),
    passed: t.int({ description: "Those that passed.", resolve: (change) => testOf(change).passed }),
    failed: t.int({ description: "Those that failed.", resolve: (change) => testOf(change).failed }),
    skipped: t.int({ description: "Those that were skipped.", resolve: (change) => testOf(change).skipped }),
    durationMs: t.int({
      description: "How long they took, in milliseconds.",
      resolve: (change) => testOf(change).durationMs,
    }),
    runId: t.globalID({
      nullable: true,
      description: "The id of the stored run when it has ended.",
      resolve: (change) => {
        const { run } = testOf(change);
        return run === null ? null : { type: "PackTestExecution", id: run };
      },
    }),
    pack: t.field({
      type: Pack,
      nullable: true,
      description: describeLoaded("The pack as it is now; null if it was deleted."),
      resolve: loadEntity<typeof Pack.$inferType>("Pack"),
    }),
  }),
});

const { id, text, choice } = liveFields<"pack">();

addLive({
  subscription: "packTestProgress",
  type: PackTestProgressMessage,
  where: defineLiveWhere("PackTestProgressWhere", "Selects tests of packs: all given conditions must hold.", {
    channel: "pack",
    activities: ["status"],
    fields: {
      id: id("Pack", "The pack itself.", (change) => change.entityId),
      ref: text("The pack's ref.", ({ content }) => content.ref),
      execution: id("Execution", "The execution that runs the tests.", (change) => testOf(change).execution),
      runner: text("The runner's name.", (change) => testOf(change).runner),
      status: choice(TestProgressStatusFilter, "How far it is.", (change) => testOf(change).status),
    },
  }),
  which: "The tests to follow",
  description: "How far the tests of packs are: each runner when it starts and ends, and each run when it is stored.",
});
