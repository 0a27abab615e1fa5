import { sql } from "drizzle-orm";
import { write } from "../../src/db/tx.ts";
import type { Feed } from "../../src/notifier/feed.ts";
import type { Change, ChangeFilter } from "../../src/notifier/page.ts";
import type { TestServices } from "../support/database.ts";

export const everything: ChangeFilter = { channel: null, entityId: null, matches: () => true };

/** A follower that runs in the background. */
export interface Follower extends AsyncDisposable {
  /** What it has received so far. */
  seen: Change[];
  /** Resolves with the error that ended it, or with null when it was stopped. */
  ended: Promise<unknown>;
}

/** Follows the feed after the cursor (null: from now on) until it is disposed. */
export function follow(feed: Feed, after: string | null = null, filter = everything): Follower {
  const stopping = new AbortController();
  const seen: Change[] = [];
  const ended = (async () => {
    for await (const change of feed.follow(filter, after, stopping.signal)) seen.push(change);
    return null;
  })().catch((error: unknown) => error);
  return {
    seen,
    ended,
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      const error = await ended;
      if (error !== null) throw error;
    },
  };
}

/** Returns the first change after the cursor; rejects when the cursor is refused. */
export async function first(feed: Feed, after: string): Promise<Change | undefined> {
  const next = await feed.follow(everything, after, AbortSignal.timeout(5000)).next();
  return next.value ?? undefined;
}

/** Inserts a pack, which is one entry in the log. */
export async function insertPack(services: TestServices, ref: string): Promise<void> {
  await write(services, async (tx) => {
    await tx.db.execute(sql`insert into attune.pack (ref, label, version) values (${ref}, ${ref}, '1.0.0')`);
  });
}

/** Splits a cursor into its log and the id of an entry. */
export function parts(cursor: string): { log: string; id: number } {
  const [log = "", id = ""] = cursor.split(".");
  return { log, id: Number(id) };
}
