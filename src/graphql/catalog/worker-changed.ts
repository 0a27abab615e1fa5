import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { WorkerStatus } from "../kit/enums.ts";
import { WorkerStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { Worker } from "./worker.ts";

const WorkerChangedMessage = builder.objectRef<Change<"worker">>("WorkerChangedMessage").implement({
  description:
    "A worker registered, changed its status, was cordoned, uncordoned or deleted. Heartbeats send no message.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    workerId: t.globalID({
      description: "The worker's id.",
      resolve: ({ entityId }) => ({ type: Worker, id: entityId }),
    }),
    name: t.string({ description: "Its name.", resolve: ({ content }) => content.name }),
    status: t.field({
      type: WorkerStatus,
      nullable: true,
      description: "Whether it takes work.",
      resolve: ({ content }) => content.status,
    }),
    cordoned: t.boolean({
      description: "Whether it is cordoned: it takes no new work.",
      resolve: ({ content }) => content.cordoned,
    }),
    deleted: t.boolean({
      description: "Whether the worker was deleted; the message has its last state.",
      resolve: ({ activity }) => activity === "deleted",
    }),
    worker: t.field({
      type: Worker,
      nullable: true,
      description: describeLoaded("The worker as it is now; null if it was deleted."),
      resolve: loadEntity<typeof Worker.$inferType>("Worker"),
    }),
  }),
});

const { id, text, choice, flag } = liveFields<"worker">();

addLive({
  subscription: "workerChanged",
  type: WorkerChangedMessage,
  where: defineLiveWhere("WorkerChangedWhere", "Selects workers: all given conditions must hold.", {
    channel: "worker",
    fields: {
      id: id("Worker", "The worker itself.", (change) => change.entityId),
      name: text("Its name.", ({ content }) => content.name),
      status: choice(WorkerStatusFilter, "Whether it takes work.", ({ content }) => content.status),
      cordoned: flag("Whether it is cordoned.", ({ content }) => content.cordoned),
    },
  }),
  which: "The workers to follow",
  description:
    "Every worker when it registers, stops, is lost, cordoned, uncordoned or deleted, each exactly once and in order.",
});
