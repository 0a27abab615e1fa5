import { deleteWorker, setCordoned } from "../../catalog/worker.ts";
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
