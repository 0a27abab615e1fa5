import { and, asc, gt, inArray, lte, max, type SQL } from "drizzle-orm";
import type { Session } from "../access/session.ts";
import { execution } from "../db/tables/execution.ts";
import { asRefusal, inSavepoint, type Tx } from "../db/tx.ts";
import { invalid, Refusal } from "../errors.ts";
import { cancelExecution } from "./cancel.ts";
import { rerunExecution } from "./rerun.ts";
import { cancellable, terminal } from "./states.ts";

/**
 * The executions of one call: those that match, in the order of their ids, from where the previous call ended. Those that are requested after the
 * first call do not belong to it, so that running executions again ends.
 */
export interface Many {
  matching: SQL | undefined;
  /** `next` of the previous call. */
  after: string | null;
}

/** What one call did, and from where the next call goes on, as `<last id>.<newest id>`; null: there are no more. */
export interface Progress {
  done: number;
  refused: { id: bigint; code: string; message: string }[];
  next: string | null;
}

/** The number of executions of one call, so that no transaction takes long. */
export const mostAtOnce = 100;

/** Cancels those of the executions that have not ended, each with its descendants. One that is refused does not affect the others. */
export async function cancelExecutions(
  tx: Tx,
  session: Session,
  { reason, ...many }: Many & { reason: string | null },
): Promise<Progress> {
  const matching = and(many.matching, inArray(execution.status, [...cancellable]));
  return await each(tx, { ...many, matching }, (own, id) => cancelExecution(own, session, { id, reason }));
}

/** Runs the executions again, each as `rerunExecution` does. One that is refused does not affect the others. */
export async function rerunExecutions(tx: Tx, session: Session, many: Many): Promise<Progress> {
  const matching = and(many.matching, inArray(execution.status, [...terminal]));
  return await each(tx, { ...many, matching }, (own, id) => rerunExecution(own, session, { id, parameters: null }));
}

async function each(
  tx: Tx,
  { matching, after }: Many,
  work: (tx: Tx, id: bigint) => Promise<unknown>,
): Promise<Progress> {
  const { from, to } = after === null ? { from: 0n, to: await newest(tx) } : readPosition(after);
  const found = await tx.db
    .select({ id: execution.id })
    .from(execution)
    .where(and(matching, gt(execution.id, from), lte(execution.id, to)))
    .orderBy(asc(execution.id))
    .limit(mostAtOnce);
  const progress: Progress = { done: 0, refused: [], next: null };
  if (found.length === mostAtOnce) progress.next = `${found.at(-1)?.id}.${to}`;
  for (const { id } of found) {
    try {
      // A refusal undoes only what it refuses.
      await inSavepoint(tx, (own) => work(own, id));
      progress.done += 1;
    } catch (error) {
      const refusal = asRefusal(error);
      if (!(refusal instanceof Refusal)) throw error;
      progress.refused.push({ id, code: refusal.code, message: refusal.message });
    }
  }
  return progress;
}

async function newest({ db }: Tx): Promise<bigint> {
  const [row] = await db.select({ id: max(execution.id) }).from(execution);
  return row?.id ?? 0n;
}

function readPosition(after: string): { from: bigint; to: bigint } {
  const [, from, to] = /^(\d{1,18})\.(\d{1,18})$/.exec(after) ?? [];
  if (from === undefined || to === undefined) throw invalid("after", "must be the `next` of the previous call");
  return { from: BigInt(from), to: BigInt(to) };
}
