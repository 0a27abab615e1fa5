import { NotFoundError } from "../../errors.ts";
import { followLog, readLog } from "../../execution/log.ts";
import { addLog } from "../kit/log.ts";

addLog({
  subscription: "executionLog",
  message: "ExecutionLogMessage",
  of: "Execution",
  descriptions: {
    message: "A chunk of an execution's output.",
    seq: "Its number within the execution, from 1, without gaps.",
    subscription: "The output of an execution, stored and live, in order. Completes when the execution has ended.",
  },
  requireReadable: async (ctx, id) => {
    const found = await ctx.db.query.executions.findFirst({ columns: { id: true }, where: { id } });
    if (!found) throw new NotFoundError("execution", String(id));
  },
  follow: (ctx, id, after, signal) => followLog(ctx.services, id, after, signal),
  read: async (ctx, id, page) => (await readLog(ctx.services.db, id, page)).entries,
});
