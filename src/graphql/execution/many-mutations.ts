import { getColumns } from "drizzle-orm";
import type { Columns } from "../../access/resource.ts";
import { execution } from "../../db/tables/execution.ts";
import { invalid } from "../../errors.ts";
import { cancelExecutions, type Many, mostAtOnce, type Progress, rerunExecutions } from "../../execution/many.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import type { WhereInput } from "../kit/filter.ts";
import { addMutation } from "../kit/mutation.ts";
import { Execution, executions } from "./execution.ts";

const perCall = `At most ${mostAtOnce} in one call, in the order of their ids: call it again with \`after: next\` until \`next\` is null.`;

const RefusedExecution = builder.objectRef<Progress["refused"][number]>("RefusedExecution").implement({
  description: "An execution for which the work of a mutation was refused.",
  fields: (t) => ({
    executionId: t.globalID({ description: "Its id.", resolve: ({ id }) => ({ type: Execution, id }) }),
    code: t.exposeString("code", { description: "The code of the refusal, as in errors." }),
    message: t.exposeString("message", { description: "Why it was refused." }),
  }),
});

const progressType = (name: string, done: string) =>
  builder.objectRef<Progress>(name).implement({
    description: "The mutation succeeded, for as many executions as one call takes.",
    fields: (t) => ({
      done: t.exposeInt("done", { description: done }),
      refused: t.expose("refused", {
        type: [RefusedExecution],
        description: "The executions for which it was refused; the others are not affected.",
      }),
      next: t.exposeString("next", {
        nullable: true,
        description:
          "Where to go on: pass it as `after`. Null: there are no more of those that existed at the first call.",
      }),
    }),
  });

const where = "Which executions, of those that you may read; at least one condition.";
const after = "The `next` of the previous call; by default the first executions.";

const CancelExecutionsInput = builder.inputType("CancelExecutionsInput", {
  description: "The executions to cancel.",
  fields: (t) => ({
    where: t.field({ type: executions.filter, required: true, description: where }),
    after: t.string({ description: after }),
    reason: t.string({ description: "The reason; by default it names the identity that cancelled them." }),
  }),
});

const RetryExecutionsInput = builder.inputType("RetryExecutionsInput", {
  description: "The executions to run again.",
  fields: (t) => ({
    where: t.field({
      type: executions.filter,
      required: true,
      description: `${where} \`failedForGood\` selects those that were not run again.`,
    }),
    after: t.string({ description: after }),
  }),
});

/** Returns the condition for the executions that match, of those that the session may read. Throws InvalidInputError. */
function matching(ctx: Context, { where, after = null }: { where: WhereInput; after?: string | null }): Many {
  if (Object.keys(where).length === 0) throw invalid("where", "must have at least one condition");
  const columns = getColumns(execution) as unknown as Columns; // its columns as properties
  return { matching: executions.read({ where }, ctx).condition(columns), after };
}

addMutation({
  name: "cancelExecutions",
  may: "execution:cancel",
  description: `Cancels executions that have not ended, each with all its descendants. ${perCall}`,
  input: CancelExecutionsInput,
  inputDescription: "The executions to cancel.",
  type: progressType("CancelExecutionsPayload", "How many were cancelled, or asked to stop."),
  payload: null,
  prepare: (ctx, { reason = null, ...input }) => ({ ...matching(ctx, input), reason }),
  run: cancelExecutions,
});

addMutation({
  name: "retryExecutions",
  may: "action:execute",
  description: `Runs executions that have ended again, each as \`rerunExecution\` does. ${perCall}`,
  input: RetryExecutionsInput,
  inputDescription: "The executions to run again.",
  type: progressType("RetryExecutionsPayload", "How many were run again."),
  payload: null,
  prepare: matching,
  run: rerunExecutions,
});
