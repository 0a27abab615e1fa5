import { type SQL, sql } from "drizzle-orm";
import type { Tx } from "../db/tx.ts";
import { countEnded } from "./ended.ts";
import { requestRetries } from "./retry.ts";
import { hasPlace, leaveGroups } from "./slots.ts";
import { type ExecutionStatus, retryable, statusIn } from "./states.ts";

/** An execution that has ended, with what follows from it. */
export interface Ended {
  id: string;
  hasPlace: boolean;
  mayRetry: boolean;
  status: ExecutionStatus;
  /** Since it was started last; null if it never was. */
  ranSeconds: number | null;
  /** Since the event from which a rule requested it; null for others. */
  answeredSeconds: number | null;
}

/** SQL: the columns of `Ended` of the execution `e`, to be returned by the statement that ends it. */
export const endedColumns: SQL = sql`e.id::text, ${hasPlace} as "hasPlace",
  e.retry is not null and ${statusIn(retryable, "e.status")} as "mayRetry", e.status,
  extract(epoch from e.finished_at - e.started_at)::float8 as "ranSeconds",
  (select extract(epoch from e.finished_at - v.created)::float8 from attune.enforcement n join attune.event v on v.id = n.event
    where n.id = e.enforcement) as "answeredSeconds"`;

/** Does what the ends of executions entail, in the transaction that ends them: frees their slots and requests their retries. */
export async function settle(tx: Tx, ended: readonly Ended[]): Promise<void> {
  countEnded(tx, ended);
  tx.observe(() => {
    for (const { ranSeconds, answeredSeconds } of ended) {
      if (ranSeconds !== null) tx.metrics.ran.observe(Math.max(0, ranSeconds));
      if (answeredSeconds !== null) tx.metrics.answered.observe(Math.max(0, answeredSeconds));
    }
  });
  await leaveGroups(tx, ended);
  const failed = ended.flatMap(({ id, mayRetry }) => (mayRetry ? [id] : []));
  if (failed.length > 0) await requestRetries(tx, failed);
}
