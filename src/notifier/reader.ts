import type { Services } from "../db/services.ts";
import { startWokenLoop } from "../db/wake.ts";
import { CursorExpiredError } from "../errors.ts";
import type { Cursor } from "./cursor.ts";
import { type Change, type ChangeFilter, readPage } from "./page.ts";
import { readLongestWriter, readSettled, type Settled } from "./settled.ts";

const everything: ChangeFilter = { channel: null, entityId: null, matches: () => true };
const readSize = 1000;
const pollMs = 5000;
/** Reads closer together than this serve several commits at once; a commit after a pause is read at once. */
const spacingMs = 4;
const longestRetryMs = 100;
const slowMs = 5000;

/** What the feed works with. */
export type FeedServices = Pick<Services, "db" | "wake" | "log">;

export interface Reader extends AsyncDisposable {
  /** Milliseconds for which the transaction that hides committed changes now has been seen to do so; 0 when none does. */
  lagMs(): number;
}

export interface ReaderOptions {
  /** The log that is read, and up to where it has been. */
  head(): Cursor;
  /** Takes each entry after the head once, in order, and the new head. */
  take(changes: Change[], head: bigint): void;
  /** The database has another log now: `settled` is where it stands. */
  replaced(settled: Settled): void;
}

/** Reads the log whenever it is woken. */
export function startReader(services: FeedServices, { head, take, replaced }: ReaderOptions): Reader {
  const lag = createLag();
  let retryMs = 1;
  let reported = 0;
  let lastRead = 0;

  async function pass(): Promise<number> {
    const early = lastRead + spacingMs - performance.now();
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    const after = head();
    const state = await readSettled(services.db, after.id);
    lastRead = performance.now();
    const read = state.log === after.log && state.settled === after.id ? 0 : await readOn(after, state);
    if (read === null || read === readSize) return 0;
    lag.note(state);
    if (state.settled >= state.newest) {
      retryMs = 1;
      return pollMs;
    }
    if (lag.ms() > slowMs && Date.now() - reported > slowMs) await report();
    // The end of the transaction that hides the rest may wake nobody: look again, soon at first.
    retryMs = read > 0 ? 2 : Math.min(longestRetryMs, retryMs * 2);
    return retryMs;
  }

  /** Hands on a page and returns its size; null when the head is not in the log any more. */
  async function readOn(after: Cursor, { settled }: Settled): Promise<number | null> {
    const until = settled > after.id ? settled : after.id; // `settled` may step back, the head does not
    try {
      const { changes, end } = await readPage(services.db, { filter: everything, after, until, limit: readSize });
      take(changes, end);
      return changes.length;
    } catch (error) {
      if (!(error instanceof CursorExpiredError)) throw error;
      replaced(await readSettled(services.db, -1n));
      return null;
    }
  }

  async function report(): Promise<void> {
    reported = Date.now();
    const writer = await readLongestWriter(services.db);
    if (writer) services.log.warn({ lagMs: lag.ms(), ...writer }, "a long transaction holds back the feed");
  }

  const loop = startWokenLoop(services.wake, "feed", {
    pass,
    failed: (error) => services.log.error({ err: error }, "reading the notification log"),
  });
  return {
    lagMs: lag.ms,
    [Symbol.asyncDispose]: loop[Symbol.asyncDispose],
  };
}

/** Measures for how long one transaction has been hiding entries: `settled` stays where it is as long as the same one does. */
function createLag(): { note(state: Settled): void; ms(): number } {
  let since = 0;
  let settled = -1n;
  return {
    note: (state) => {
      if (state.settled >= state.newest) since = 0;
      else if (since === 0 || state.settled !== settled) since = Date.now();
      settled = state.settled;
    },
    ms: () => (since === 0 ? 0 : Date.now() - since),
  };
}
