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
  description: "Tells a worker to take no new work; what it runs goes on. What is asked for afterwards it never takes.",
  input: workerInput("CordonWorkerInput", "The worker that is to take no new work."),
  run: (tx, session, { id }) => setCordoned(tx, session, { id: readId("Worker", id, "id"), cordoned: true }),
});

addRowMutation({
  ...about,
  name: "uncordonWorker",
  description: "Lets a worker take work again.",
  input: workerInput("UncordonWorkerInput", "The worker that may take work again."),
  run: (tx, session, { id }) => setCordoned(tx, session, { id: readId("Worker", id, "id"), cordoned: false }),
});

addDeletionById(
  {
    kind: "Worker",
    noun: "worker",
    may: "worker:delete",
    description:
      "Removes a worker that is no more; its executions keep its name. Refused while it lives or runs something.",
  },
  "name",
  deleteWorker,
);
