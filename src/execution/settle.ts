import { type SQL, sql } from "drizzle-orm";
import type { Tx } from "../db/tx.ts";
import { requestRetries } from "./retry.ts";
import { hasPlace, leaveGroups } from "./slots.ts";
import { retryable, statusIn } from "./states.ts";

/** An execution that has ended, with what follows from it. */
export interface Ended {
  id: string;
  hasPlace: boolean;
  mayRetry: boolean;
}

/** SQL: the columns of `Ended` of the execution `e`, to be returned by the statement that ends it. */
export const endedColumns: SQL = sql`e.id::text, ${hasPlace} as "hasPlace",
  e.retry is not null and ${statusIn(retryable, "e.status")} as "mayRetry"`;

/** Does what the ends of executions entail, in the transaction that ends them: frees their slots and requests their retries. */
export async function settle(tx: Tx, ended: readonly Ended[]): Promise<void> {
  await leaveGroups(tx, ended);
  const failed = ended.flatMap(({ id, mayRetry }) => (mayRetry ? [id] : []));
  if (failed.length > 0) await requestRetries(tx, failed);
}
