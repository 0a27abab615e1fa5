import { cancelExecution } from "../../execution/cancel.ts";
import { deleteExecution } from "../../execution/delete.ts";
import { executeAction } from "../../execution/request.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { addDeletionById } from "../kit/mutation-field.ts";
import { refusable } from "../kit/refusals.ts";
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
    idempotencyKey: t.string({
      description:
        "A key of your own: sent again within 24 hours, it makes nothing new and answers the same execution.",
    }),
  }),
});

const CancelExecutionInput = builder.inputType("CancelExecutionInput", {
  description: "An execution to cancel.",
  fields: (t) => ({
    id: t.id({ required: true, description: "The execution's id." }),
    reason: t.string({ description: "Why; who cancelled it when left out." }),
  }),
});

builder.mutationField("executeAction", (t) =>
  t.withAuth({ may: "action:execute" }).drizzleField({
    type: Execution,
    nullable: true,
    description: "Runs an action: answers at once, with the execution on its way.",
    args: { input: t.arg({ type: ExecuteActionInput, required: true, description: "The action and its parameters." }) },
    errors: refusable("execution", "The new execution."),
    resolve: async (query, _root, { input }, ctx) => {
      const { action, parameters = null, timeoutSeconds = null, priority = null } = input;
      const { id } = await executeAction(ctx.engine, ctx.session, { action, parameters, timeoutSeconds, priority });
      return await ctx.written.query.executions.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("cancelExecution", (t) =>
  t.withAuth({ may: "execution:cancel" }).drizzleField({
    type: Execution,
    nullable: true,
    description:
      "Cancels an execution and its parts: what waits ends at once, what runs is asked to stop and is CANCELING until it has.",
    args: { input: t.arg({ type: CancelExecutionInput, required: true, description: "The execution." }) },
    errors: refusable("execution", "The execution as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const id = readId("Execution", input.id, "id");
      await cancelExecution(ctx.engine, ctx.session, { id, reason: input.reason ?? null });
      return await ctx.written.query.executions.findFirst(query({ where: { id } }));
    },
  }),
);

addDeletionById(
  {
    kind: "Execution",
    noun: "execution",
    may: "execution:delete",
    description: "Deletes an execution that has ended, with its timeline and its log; its parts stay.",
  },
  (ctx, input) => deleteExecution(ctx.engine, ctx.session, input),
);
