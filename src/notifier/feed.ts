import { CursorExpiredError, LaggedError } from "../errors.ts";
import { formatCursor, parseCursor } from "./cursor.ts";
import { type Change, type ChangeFilter, passesFilter, readOldest, readPage } from "./page.ts";
import { createParking } from "./parking.ts";
import { type FeedServices, startReader } from "./reader.ts";
import { createRing, type Ring } from "./ring.ts";
import { readSettled, type Settled } from "./settled.ts";

/** Where a stream begins that sends no older changes. */
export interface Start {
  /** The cursor after the newest change that was read: what has committed before it is visible to every later statement. */
  cursor: string;
}

/** A feed of the changes in the notification log. */
export interface Feed extends AsyncDisposable {
  /**
   * Yields every change after the cursor, oldest first, then each as it commits, exactly once; null begins with the next change.
   * Ends when the signal fires. Throws InvalidInputError (invalid cursor), CursorExpiredError, LaggedError. `begin` is called with the
   * changes that follow one another without waiting, before the first of them is yielded.
   */
  follow(
    filter: ChangeFilter,
    after: string | Start | null,
    signal: AbortSignal,
    begin?: (changes: readonly Change[]) => void,
  ): AsyncGenerator<Change, void>;
  /** Returns at most `limit` stored changes after the cursor (null: from the oldest). Throws as `follow` does. */
  replay(filter: ChangeFilter, after: string | null, limit: number): Promise<Change[]>;
  /** Returns the present position. */
  start(): Start;
  /** Returns for how many milliseconds an open transaction has been hiding committed changes; 0 when none does. */
  lagMs(): number;
}

/** The current log of the database, as far as it has been read. */
interface Log {
  name: string;
  ring: Ring;
  /** Fires when the database has another log, after a restore in place or a promotion. */
  replaced: AbortController;
}

const pageSize = 100;
const handoverMs = 30_000;

/**
 * Starts the process's only reader of the notification log. It reads each entry once, in order, and delivers it from memory to the
 * followers whose filters it passes. `ringSize` entries are kept for slow followers; older ones are read from the table.
 */
export async function createFeed(services: FeedServices, ringSize = 10_000): Promise<Feed> {
  const { db } = services;
  const parking = createParking();
  const closing = new AbortController();
  let current = beginLog(await readSettled(db, -1n), ringSize);
  const reader = startReader(services, {
    head: () => ({ log: current.name, id: current.ring.head() }),
    take: (changes, head) => {
      const from = current.ring.head();
      current.ring.push(changes, head);
      parking.wake(changes, from);
    },
    replaced: (settled) => {
      const { replaced } = current;
      current = beginLog(settled, ringSize);
      replaced.abort();
    },
  });

  const expired = async () => new CursorExpiredError(formatCursor(await readOldest(db)));

  /** Returns the cursor's id in that log. Throws CursorExpiredError for a cursor of another log. */
  async function positionIn(log: Log, after: string): Promise<bigint> {
    const cursor = parseCursor(after);
    if (cursor.log !== log.name) throw await expired();
    return cursor.id;
  }

  const read = (log: Log, filter: ChangeFilter, after: bigint, { until = log.ring.head(), limit = pageSize } = {}) =>
    readPage(db, { filter, after: { log: log.name, id: after }, until, limit });

  async function next(log: Log, filter: ChangeFilter, after: bigint): Promise<{ changes: Change[]; end: bigint }> {
    const held = log.ring.after(after, pageSize);
    if (!held) return await read(log, filter, after);
    return { changes: held.changes.filter((change) => passesFilter(filter, change)), end: held.end };
  }

  async function* follow(
    filter: ChangeFilter,
    after: string | Start | null,
    signal: AbortSignal,
    begin = (_changes: readonly Change[]) => {},
  ): AsyncGenerator<Change, void> {
    const log = current;
    const { ring, replaced } = log;
    const ended = AbortSignal.any([signal, closing.signal, replaced.signal]);
    const cursor = typeof after === "string" ? after : after?.cursor;
    let position = cursor === undefined ? ring.head() : await positionIn(log, cursor);
    // The ring may hold changes that retention has deleted; whether a cursor has expired depends on the table.
    if (typeof after === "string") await read(log, filter, position, { until: position, limit: 1 });
    while (!ended.aborted) {
      const page = await next(log, filter, position);
      yield* deliver(ring, page.changes, begin);
      if (page.end > position) position = page.end;
      if (position >= ring.head()) position = await parking.wait(filter, position, ended);
    }
    if (replaced.signal.aborted && !signal.aborted && !closing.signal.aborted) throw await expired();
  }

  return {
    follow,
    replay: async (filter, after, limit) => {
      const log = current;
      const until = log.ring.head();
      const found: Change[] = [];
      let position = await positionIn(log, after ?? formatCursor(await readOldest(db)));
      do {
        const page = await read(log, filter, position, { until });
        found.push(...page.changes);
        position = page.end;
      } while (found.length < limit && position < until);
      return found.slice(0, limit);
    },
    start: () => ({ cursor: formatCursor({ log: current.name, id: current.ring.head() }) }),
    lagMs: reader.lagMs,
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await reader[Symbol.asyncDispose]();
    },
  };
}

function beginLog({ log, settled }: Settled, ringSize: number): Log {
  return { name: log, ring: createRing(settled, ringSize), replaced: new AbortController() };
}

async function* deliver(
  ring: Ring,
  changes: Change[],
  begin: (changes: readonly Change[]) => void,
): AsyncGenerator<Change, void> {
  if (changes.length > 0) begin(changes);
  for (const change of changes) {
    const offered = Date.now();
    yield change;
    if (Date.now() - offered > handoverMs) throw new LaggedError(ring.since(change.id), change.cursor);
  }
}
