import type { RetryPolicy as Stored } from "../../catalog/retry.ts";
import { RetryPolicy } from "../catalog/retry.ts";
import { builder } from "../kit/builder.ts";
import { Execution, executions } from "./execution.ts";

builder.drizzleObjectFields(Execution, (t) => ({
  runAt: t.expose("runAt", {
    type: "DateTime",
    nullable: true,
    description:
      "The time before which it does not start: that for which it was requested, or the end of a retry's delay.",
  }),
  retryPolicy: t.field({
    type: RetryPolicy,
    nullable: true,
    description: "When and how often it is retried; null: never.",
    select: { columns: { retry: true } },
    resolve: ({ retry }) => retry as Stored | null, // checked when it was stored
  }),
  retryCount: t.exposeInt("retryCount", { description: "The number of tries before this one." }),
  retryOf: t.relation("retryOf", { nullable: true, description: "The try before this one." }),
  retries: t.relatedConnection(
    "retries",
    executions.related("The try after this one; none if it was the last.", { usually: 1 }),
    executions.connection,
  ),
  rerunOf: t.relation("rerunOf", { nullable: true, description: "The execution of which this is a rerun." }),
  reruns: t.relatedConnection("reruns", executions.related("Its reruns.", { usually: 1 }), executions.connection),
}));
