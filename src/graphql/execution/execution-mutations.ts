import { cancelExecution } from "../../execution/cancel.ts";
import { deleteExecution } from "../../execution/delete.ts";
import { executeAction } from "../../execution/execute.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { addDeletionById, addRowMutation, idempotencyKeyField } from "../kit/mutation.ts";
import { Execution } from "./execution.ts";

const ExecuteActionInput = builder.inputType("ExecuteActionInput", {
  description: "The action to execute.",
  fields: (t) => ({
    action: t.string({ required: true, description: "The action's ref." }),
    parameters: t.field({ type: "JSONObject", description: "The action's parameters; defaults are filled in." }),
    timeoutSeconds: t.int({
      description: "The timeout, in seconds, at most 30 days; by default the action's.",
    }),
    priority: t.int({ description: "Executions with a higher priority run first; 0 by default." }),
    idempotencyKey: idempotencyKeyField(t),
  }),
});

const CancelExecutionInput = builder.inputType("CancelExecutionInput", {
  description: "The execution to cancel.",
  fields: (t) => ({
    id: t.id({ required: true, description: "The execution's id." }),
    reason: t.string({ description: "The reason; by default it names the identity that cancelled it." }),
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
    "Cancels an execution and all its descendants. Waiting executions end at once; running ones are CANCELING until they have stopped.",
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
    description: "Deletes an execution that has ended, with its status transitions and its log. Its children stay.",
  },
  "id",
  deleteExecution,
);
