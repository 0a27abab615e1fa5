import { cancelExecution } from "../../execution/cancel.ts";
import { deleteExecution } from "../../execution/delete.ts";
import { executeAction } from "../../execution/execute.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { addDeletionById, addRowMutation, idempotencyKey } from "../kit/mutation.ts";
import { Execution } from "./execution.ts";

const ExecuteActionInput = builder.inputType("ExecuteActionInput", {
  description: "An action to run.",
  fields: (t) => ({
    action: t.string({ required: true, description: "The action's ref." }),
    parameters: t.field({ type: "JSONObject", description: "Its parameters; defaults are filled in." }),
    timeoutSeconds: t.int({
      description: "How long it may run, in seconds, at most 30 days; the action's own when left out.",
    }),
    priority: t.int({ description: "Higher ones are run first; 0 unless said otherwise." }),
    idempotencyKey: idempotencyKey(t),
  }),
});

const CancelExecutionInput = builder.inputType("CancelExecutionInput", {
  description: "An execution to cancel.",
  fields: (t) => ({
    id: t.id({ required: true, description: "The execution's id." }),
    reason: t.string({ description: "Why; who cancelled it when left out." }),
  }),
});

const about = { table: "executions", ref: Execution } as const;

addRowMutation({
  ...about,
  name: "executeAction",
  may: "action:execute",
  description: "Executes an action. Returns at once, with the execution scheduled.",
  input: ExecuteActionInput,
  inputDescription: "The action and its parameters.",
  secretFields: ["parameters"],
  payload: ["execution", "The new execution."],
  run: (tx, session, { action, parameters = null, timeoutSeconds = null, priority = null }) =>
    executeAction(tx, session, { action, parameters, timeoutSeconds, priority }),
});

addRowMutation({
  ...about,
  name: "cancelExecution",
  may: "execution:cancel",
  description:
    "Cancels an execution and all its descendants. Those that wait end at once; those that run are asked to stop and are CANCELING until they have.",
  input: CancelExecutionInput,
  inputDescription: "The execution to cancel.",
  payload: ["execution", "The execution as it is now."],
  run: (tx, session, { id, reason = null }) =>
    cancelExecution(tx, session, { id: readId("Execution", id, "id"), reason }),
});

addDeletionById(
  {
    kind: "Execution",
    noun: "execution",
    may: "execution:delete",
    description: "Deletes an execution that has ended, with its timeline and its log. Its children stay.",
  },
  "id",
  deleteExecution,
);
