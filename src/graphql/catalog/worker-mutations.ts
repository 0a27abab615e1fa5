import { deleteWorker, drainWorker, setCordoned } from "../../catalog/worker.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { addDeletionById, addRowMutation } from "../kit/mutation.ts";
import { Worker } from "./worker.ts";

const workerInput = (name: string, description: string) =>
  builder.inputType(name, {
    description,
    fields: (t) => ({ id: t.id({ required: true, description: "The worker's id." }) }),
  });

const about = {
  table: "workers",
  ref: Worker,
  may: "worker:cordon",
  inputDescription: "The worker.",
  payload: ["worker", "The worker as it is now."],
} as const;

addRowMutation({
  ...about,
  name: "cordonWorker",
  description: "Cordons a worker: it claims no execution requested from now on. Its running executions continue.",
  input: workerInput("CordonWorkerInput", "The worker to cordon."),
  run: (tx, session, { id }) => setCordoned(tx, session, { id: readId("Worker", id, "id"), cordoned: true }),
});

addRowMutation({
  ...about,
  name: "uncordonWorker",
  description: "Uncordons a worker: it claims executions again.",
  input: workerInput("UncordonWorkerInput", "The worker to uncordon."),
  run: (tx, session, { id }) => setCordoned(tx, session, { id: readId("Worker", id, "id"), cordoned: false }),
});

addRowMutation({
  ...about,
  name: "drainWorker",
  description:
    "Cordons a worker, and after a time lets it hand back what it still runs: that returns to the queue or is abandoned, as its action defines. Uncordoning it ends the drain.",
  input: builder.inputType("DrainWorkerInput", {
    description: "The worker to drain.",
    fields: (t) => ({
      id: t.id({ required: true, description: "The worker's id." }),
      graceSeconds: t.int({
        description: "For how many seconds its executions may finish: 300 by default, at most seven days.",
      }),
    }),
  }),
  run: (tx, session, { id, graceSeconds = null }) =>
    drainWorker(tx, session, { id: readId("Worker", id, "id"), graceSeconds }),
});

addDeletionById(
  {
    kind: "Worker",
    noun: "worker",
    may: "worker:delete",
    description:
      "Deletes a worker that has stopped or was lost. Its executions keep its name. Refused while it is alive or runs an execution.",
  },
  "name",
  deleteWorker,
);
