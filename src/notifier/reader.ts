import type { Services } from "../db/services.ts";
import { startWokenLoop } from "../db/wake.ts";
import { CursorExpiredError } from "../errors.ts";
import { createPace } from "../lib/pace.ts";
import type { Cursor } from "./cursor.ts";
import { type Change, type ChangeFilter, readPage } from "./page.ts";
import { readLongestWriter, readSettled, type Settled } from "./settled.ts";

const everything: ChangeFilter = { channel: null, entityId: null, matches: () => true };
const readSize = 1000;
const pollMs = 5000;
/** Under load, a read serves the commits of this many milliseconds; the few commits of one event after a pause are each read at once. */
const pace = { everyMs: 6, burst: 8 };
const longestRetryMs = 100;
const slowMs = 5000;

/** The services that the feed uses. */
export type FeedServices = Pick<Services, "db" | "wake" | "log">;

/** A running reader of the notification log. */
export interface Reader extends AsyncDisposable {
  /** Returns for how many milliseconds the current transaction has been hiding committed changes; 0 when none does. */
  lagMs(): number;
}

/** The position of a reader, and the receivers of what it reads. */
export interface ReaderOptions {
  /** Returns the cursor after the newest entry that was read. */
  head(): Cursor;
  /** Receives each entry after the head once, in order, and the new head. */
  take(changes: Change[], head: bigint): void;
  /** Is called when the database has another log, with the state of that log. */
  replaced(settled: Settled): void;
}

/** Starts reading the log whenever it is woken. */
export function startReader(services: FeedServices, { head, take, replaced }: ReaderOptions): Reader {
  const lag = createLag();
  let retryMs = 1;
  let reported = 0;
  const turn = createPace(pace);

  async function pass(): Promise<number> {
    await turn();
    const after = head();
    const state = await readSettled(services.db, after.id);
    const read = state.log === after.log && state.settled === after.id ? 0 : await readNext(after, state);
    if (read === null || read === readSize) return 0;
    lag.note(state);
    if (state.settled >= state.newest) {
      retryMs = 1;
      return pollMs;
    }
    if (lag.ms() > slowMs && Date.now() - reported > slowMs) await report();
    // The end of the transaction that hides the rest may send no wake-up: read again, with growing pauses.
    retryMs = read > 0 ? 2 : Math.min(longestRetryMs, retryMs * 2);
    return retryMs;
  }

  /** Delivers a page and returns its size; null when the head is no longer in the log. */
  async function readNext(after: Cursor, { settled }: Settled): Promise<number | null> {
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

/** Measures how long one transaction has been hiding entries: `settled` does not change while it is open. */
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
