import { DrizzleQueryError } from "drizzle-orm";
import { refusalOf, type Violation } from "./constraint.ts";
import type { Services } from "./services.ts";
import type { Topic } from "./wake.ts";

/** A transaction with the services that verbs need. Its topics are announced after the commit. */
export interface Tx extends Omit<Services, "wake"> {
  announce(topic: Topic): void;
  /** Runs `count`, which must not fail, after the commit: for metrics. */
  observe(count: () => void): void;
  /**
   * Runs `work` after the commit; its errors are logged. A kill may prevent it, so another process must be able to do the same. Not for
   * use inside a savepoint, whose rollback does not undo the call.
   */
  afterCommit(work: () => Promise<void>): void;
}

/**
 * Runs `work` in one transaction, returns its result, and announces its topics after the commit. Throws ConflictError or
 * InvalidInputError for a violated constraint. `work` must be fast: the embedded database has only one connection.
 */
export async function write<T>({ wake, ...services }: Services, work: (tx: Tx) => Promise<T>): Promise<T> {
  const topics = new Set<Topic>(["feed"]);
  const observed: (() => void)[] = [];
  const later: (() => Promise<void>)[] = [];
  try {
    const result = await services.db.transaction((db) =>
      work({
        ...services,
        db,
        announce: (topic) => topics.add(topic),
        observe: (each) => observed.push(each),
        afterCommit: (each) => later.push(each),
      }),
    );
    wake.announce(topics);
    for (const count of observed) count();
    for (const each of later) {
      await each().catch((error: unknown) => services.log.error({ err: error }, "work after a commit failed"));
    }
    return result;
  } catch (error) {
    throw asRefusal(error);
  }
}

/** Runs `work` in a savepoint of the caller's transaction. What it observed is dropped when it throws. */
export async function inSavepoint<T>(tx: Tx, work: (tx: Tx) => Promise<T>): Promise<T> {
  const observed: (() => void)[] = [];
  // A transaction of its own: within the caller's, it is a savepoint.
  const result = await tx.db.transaction((db) => work({ ...tx, db, observe: (each) => observed.push(each) }));
  for (const each of observed) tx.observe(each);
  return result;
}

/** Returns the refusal for a violated constraint; any other error is returned unchanged. */
export function asRefusal(error: unknown): unknown {
  if (!(error instanceof DrizzleQueryError) || !error.cause) return error;
  return refusalOf(error.cause as Violation, { cause: error }) ?? error; // the driver's own error
}
