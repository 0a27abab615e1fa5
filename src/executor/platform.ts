import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { type Alert, emitPlatformEvents, platformBatch, reportAlert } from "../event/platform.ts";
import { startLoop } from "../lib/loop.ts";

/** How soon what happened is an event: database triggers cannot wake another process. */
const pollMs = 500;
const alertMs = 5000;
/** Events that wait longer than this to be evaluated are reported; the alert ends when none waits half as long. */
const longestLagSeconds = 60;

/** Starts making events of the platform's own life, and reports a disk that runs full and events that wait too long. */
export function startPlatformEvents(services: Services, { everyMs = alertMs } = {}): AsyncDisposable {
  const parts = new AsyncDisposableStack();
  const failed = (error: unknown) => services.log.error({ err: error }, "events of the platform");
  const open = new Set<Alert["name"]>(["disk", "lag"]); // what a former process reported may be over
  parts.use(
    startLoop({
      pass: async () => {
        const [any] = await rows(services.db, sql`select 1 as one from attune.platform_event limit 1`);
        if (any === undefined) return pollMs;
        return (await write(services, emitPlatformEvents)) === platformBatch ? 0 : pollMs;
      },
      failed,
    }),
  );
  parts.use(
    startLoop({
      pass: async () => {
        await check(services, open);
        return everyMs;
      },
      failed,
    }),
  );
  return parts;
}

async function check(services: Services, open: Set<Alert["name"]>): Promise<void> {
  const alerts = { disk: diskAlert(services), lag: await lagAlert(services, open.has("lag")) };
  for (const name of ["disk", "lag"] as const) {
    const alert = alerts[name];
    if (alert === null && !open.has(name)) continue;
    await write(services, (tx) => reportAlert(tx, name, alert));
    if (alert === null) open.delete(name);
    else open.add(name);
  }
}

function diskAlert({ room }: Services): Alert | null {
  if (!room.isLow()) return null;
  const free = room.free();
  return {
    name: "disk",
    title: "The disk of the database runs full: soon no new work is taken.",
    details: { free_mb: free === null ? null : Math.floor(free / 1024 ** 2) },
  };
}

async function lagAlert({ db }: Services, isOpen: boolean): Promise<Alert | null> {
  const [oldest] = await rows<{ seconds: number }>(
    db,
    sql`select extract(epoch from now() - created)::float8 as seconds from attune.event
      where id = (select min(event) from attune.pending_event)`,
  );
  const seconds = Math.floor(oldest?.seconds ?? 0);
  if (seconds <= (isOpen ? longestLagSeconds / 2 : longestLagSeconds)) return null;
  return {
    name: "lag",
    title: `Events wait ${seconds} s to be evaluated.`,
    details: { seconds },
  };
}
