import type { workerStatus } from "../../db/schema.ts";
import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { WorkerStatus } from "../kit/enums.ts";
import { BooleanFilter, IDFilter, StringFilter, WorkerStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, atItsPrice, defineLiveWhere, LiveMessage, loadEntity, telling, told } from "../kit/live.ts";
import { Worker } from "./worker.ts";

type Status = (typeof workerStatus.enumValues)[number];

const WorkerChangedMessage = builder.objectRef<Change>("WorkerChangedMessage").implement({
  description: "A worker registered, changed its status, or was told to take no new work. Heartbeats are not told.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    workerId: t.globalID({
      description: "The worker's id.",
      resolve: ({ entityId }) => ({ type: Worker, id: entityId }),
    }),
    name: t.string({ description: "Its name.", resolve: (change) => String(told(change, "name")) }),
    status: t.field({
      type: WorkerStatus,
      nullable: true,
      description: "Whether it takes work.",
      resolve: (change) => told(change, "status") as Status | null, // as the database wrote it
    }),
    cordoned: t.boolean({
      description: "Whether someone told it to take no new work.",
      resolve: (change) => told(change, "cordoned") === true,
    }),
    worker: t.field({
      type: Worker,
      nullable: true,
      description: atItsPrice("The worker as it is now; null when it is gone."),
      resolve: loadEntity<typeof Worker.$inferType>("Worker"),
    }),
  }),
});

addLive({
  subscription: "workerChanged",
  query: "workerChanges",
  type: WorkerChangedMessage,
  where: defineLiveWhere("WorkerChangedWhere", "Which workers are followed: all that is given must hold.", {
    channel: "worker",
    fields: {
      id: {
        type: IDFilter,
        description: "The worker itself.",
        read: (change) => String(change.entityId),
        typename: "Worker",
      },
      name: { type: StringFilter, description: "Its name.", read: telling("name") },
      status: { type: WorkerStatusFilter, description: "Whether it takes work.", read: telling("status") },
      cordoned: { type: BooleanFilter, description: "Whether it was told to take none.", read: telling("cordoned") },
    },
  }),
  which: "Which workers",
  description: "Every worker that registers, stops, is lost or cordoned, each change exactly once and in order.",
});
