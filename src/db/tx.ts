import { DrizzleQueryError } from "drizzle-orm";
import { refusalOf, type Violation } from "./constraint.ts";
import type { Services } from "./services.ts";
import type { Topic } from "./wake.ts";

/** A transaction, with all that verbs need besides. Its topics are announced once it has committed. */
export interface Tx extends Omit<Services, "wake"> {
  announce(topic: Topic): void;
  /**
   * Runs `work` once the transaction has committed; its errors are logged. A kill may prevent it, so something else must be able
   * to do the same. Not for use inside a savepoint, whose rollback does not undo the call.
   */
  afterCommit(work: () => Promise<void>): void;
}

/**
 * Runs `work` in one transaction and announces its topics after the commit. A violated constraint is thrown as the
 * refusal that it means (ConflictError, InvalidInputError). Nothing slow belongs into `work`: the embedded database has one
 * connection, and whatever else needs it waits.
 */
export async function write<T>({ wake, ...services }: Services, work: (tx: Tx) => Promise<T>): Promise<T> {
  const topics = new Set<Topic>(["feed"]);
  const later: (() => Promise<void>)[] = [];
  try {
    const result = await services.db.transaction((db) =>
      work({ ...services, db, announce: (topic) => topics.add(topic), afterCommit: (each) => later.push(each) }),
    );
    wake.announce(topics);
    for (const each of later) {
      await each().catch((error: unknown) => services.log.error({ err: error }, "what follows a commit failed"));
    }
    return result;
  } catch (error) {
    throw asRefusal(error);
  }
}

/** Turns a violated constraint into the refusal that it means; everything else is returned as it is. */
export function asRefusal(error: unknown): unknown {
  if (!(error instanceof DrizzleQueryError) || !error.cause) return error;
  return refusalOf(error.cause as Violation, { cause: error }) ?? error; // the driver's own error
}
