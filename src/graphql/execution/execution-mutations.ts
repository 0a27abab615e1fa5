import { cancelExecution } from "../../execution/cancel.ts";
import { deleteExecution } from "../../execution/delete.ts";
import { executeAction } from "../../execution/execute.ts";
import { rerunExecution } from "../../execution/rerun.ts";
import { RetryInput } from "../catalog/retry.ts";
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
    retry: t.field({
      type: RetryInput,
      description: "When and how often it is retried; by default as its action says.",
    }),
    runAt: t.field({
      type: "DateTime",
      description: "Not to start before this time, at most 366 days ahead; one in the past means now.",
    }),
    idempotencyKey: idempotencyKeyField(t),
  }),
});

const RerunExecutionInput = builder.inputType("RerunExecutionInput", {
  description: "The execution to run again.",
  fields: (t) => ({
    id: t.id({ required: true, description: "The execution's id." }),
    parameters: t.field({ type: "JSONObject", description: "Parameters instead of all of its own." }),
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
  description:
    "Executes an action. Returns at once, with the execution scheduled, or waiting for its time or for a slot of a policy.",
  input: ExecuteActionInput,
  inputDescription: "The action and its parameters.",
  secretFields: ["parameters"],
  payload: ["execution", "The new execution."],
  run: (
    tx,
    session,
    { action, parameters = null, timeoutSeconds = null, priority = null, retry = null, runAt = null },
  ) => executeAction(tx, session, { action, parameters, timeoutSeconds, priority, retry, runAt }),
});

addRowMutation({
  ...about,
  name: "rerunExecution",
  may: "action:execute",
  description:
    "Executes the action of an execution that has ended once more, as it is now, with the same parameters, secrets, timeout, retries and priority. The new execution refers to the first as `rerunOf`.",
  input: RerunExecutionInput,
  inputDescription: "The execution to run again.",
  secretFields: ["parameters"],
  payload: ["execution", "The new execution."],
  run: (tx, session, { id, parameters = null }) =>
    rerunExecution(tx, session, { id: readId("Execution", id, "id"), parameters }),
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
