import type { Services } from "../db/services.ts";
import { CursorExpiredError, LaggedError } from "../errors.ts";
import { comparePositions, formatCursor, type Position, parseCursor } from "./cursor.ts";
import { type Change, type ChangeFilter, readHead, readOldest, readPage, wanted } from "./page.ts";
import { createParking } from "./parking.ts";
import { startReader } from "./reader.ts";
import { createRing } from "./ring.ts";

export interface Feed extends AsyncDisposable {
  /**
   * Every change after the cursor, oldest first, then each as it commits, none twice and none missing; null begins with the
   * next one. Ends when the signal fires. Throws InvalidInputError (no cursor), CursorExpiredError, LaggedError.
   */
  follow(filter: ChangeFilter, after: string | null, signal: AbortSignal): AsyncGenerator<Change, void>;
  /** What `follow` would replay from storage: at most `limit` changes after the cursor (null: from the oldest kept). */
  replay(filter: ChangeFilter, after: string | null, limit: number): Promise<Change[]>;
  /** The cursor behind everything read so far. */
  position(): string;
  /** Milliseconds for which committed changes have been waiting behind an older transaction; 0 when none wait. */
  lagMs(): number;
}

const pageSize = 100;
const handoverMs = 30_000;

/**
 * The process's one reader of the notification log: reads each entry once, in commit order, and hands it to the followers
 * who want it, from memory. `ringSize` entries are kept for followers that fall behind; beyond, they page from the table.
 */
export async function createFeed(services: Services, ringSize = 10_000): Promise<Feed> {
  const { db } = services;
  const { epoch, position: head } = await readHead(db);
  const ring = createRing(head, ringSize);
  const parking = createParking();
  const closing = new AbortController();
  const reader = startReader(services, {
    epoch,
    head: ring.head,
    take: (changes) => {
      const from = ring.head();
      ring.push(changes);
      parking.wake(changes, from);
    },
  });

  function startAt(after: string): Position {
    const cursor = parseCursor(after);
    if (cursor.epoch !== epoch) throw new CursorExpiredError(formatCursor(epoch, { xid: 0n, id: 0n }));
    return cursor;
  }

  async function next(filter: ChangeFilter, after: Position): Promise<{ changes: Change[]; end: Position }> {
    const held = ring.after(after, pageSize);
    if (!held) return await readPage(db, { epoch, filter, after, until: ring.head(), limit: pageSize });
    return { changes: held.changes.filter((change) => wanted(filter, change)), end: held.end };
  }

  async function* deliver(changes: Change[]): AsyncGenerator<Change, void> {
    for (const change of changes) {
      const offered = Date.now();
      yield change;
      if (Date.now() - offered > handoverMs) throw new LaggedError(ring.since(change), change.cursor);
    }
  }

  async function* follow(
    filter: ChangeFilter,
    after: string | null,
    signal: AbortSignal,
  ): AsyncGenerator<Change, void> {
    const ended = AbortSignal.any([signal, closing.signal]);
    let cursor = after === null ? ring.head() : startAt(after);
    // The ring may reach back further than what retention has left; a cursor is judged by what is stored.
    if (after !== null) await readPage(db, { epoch, filter, after: cursor, until: cursor, limit: 1 });
    while (!ended.aborted) {
      const page = await next(filter, cursor);
      yield* deliver(page.changes);
      if (comparePositions(page.end, cursor) > 0) cursor = page.end;
      if (comparePositions(cursor, ring.head()) >= 0) cursor = await parking.wait(filter, cursor, ended);
    }
  }

  return {
    follow,
    replay: async (filter, after, limit) => {
      const until = ring.head();
      const found: Change[] = [];
      let cursor = after === null ? await readOldest(db) : startAt(after);
      do {
        const page = await readPage(db, { epoch, filter, after: cursor, until, limit: pageSize });
        found.push(...page.changes);
        cursor = page.end;
      } while (found.length < limit && comparePositions(cursor, until) < 0);
      return found.slice(0, limit);
    },
    position: () => formatCursor(epoch, ring.head()),
    lagMs: reader.lagMs,
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await reader[Symbol.asyncDispose]();
    },
  };
}
