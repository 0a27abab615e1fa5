import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { startWokenLoop } from "../db/wake.ts";
import type { Position } from "./cursor.ts";
import { type Change, readCommitted } from "./page.ts";

const readSize = 1000;
const pollMs = 5000;
/** Reads closer together than this serve several commits at once; a commit after a pause is read at once. */
const spacingMs = 4;
const slowMs = 5000;

export interface Reader extends AsyncDisposable {
  /** Milliseconds for which committed changes have been waiting behind an older transaction; 0 when none wait. */
  lagMs(): number;
}

/** Reads the log behind `head()` whenever it is woken, and hands each entry to `take` once, in commit order. */
export function startReader(
  services: Services,
  options: { epoch: bigint; head: () => Position; take: (changes: Change[]) => void },
): Reader {
  let backoffMs = 1;
  let hiddenSince = 0;
  let lastRead = 0;
  let reported = 0;

  async function pass(): Promise<number> {
    const early = lastRead + spacingMs - performance.now();
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    const { epoch } = options;
    const { changes, hidden } = await readCommitted(services.db, { epoch, after: options.head(), limit: readSize });
    lastRead = performance.now();
    options.take(changes);
    if (changes.length === readSize) return 0;
    if (!hidden) {
      backoffMs = 1;
      hiddenSince = 0;
      return pollMs;
    }
    // The end of the transaction that hides them wakes nobody: look again, soon at first.
    backoffMs = Math.min(100, backoffMs * 2);
    hiddenSince ||= Date.now();
    if (Date.now() - hiddenSince > slowMs && Date.now() - reported > slowMs) await report();
    return backoffMs;
  }

  async function report(): Promise<void> {
    reported = Date.now();
    const [holder] = await rows<{ pid: number; database: string }>(
      services.db,
      sql`select pid, datname as database from pg_stat_activity where backend_xid is not null
        order by age(backend_xid) desc limit 1`,
    );
    services.log.warn({ lagMs: Date.now() - hiddenSince, ...holder }, "a long transaction holds back the feed");
  }

  const loop = startWokenLoop(services.wake, "feed", {
    pass,
    failed: (error) => services.log.error({ err: error }, "reading the notification log"),
  });
  return {
    lagMs: () => (hiddenSince === 0 ? 0 : Date.now() - hiddenSince),
    [Symbol.asyncDispose]: loop[Symbol.asyncDispose],
  };
}
