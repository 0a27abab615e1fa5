import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { startLoop } from "../lib/loop.ts";

const noteMs = 3000;
/** A period that was not extended for this long has ended: two notes were missed. */
const longestGapSeconds = 6;

/**
 * Notes that the database is there: extends the present period, or begins a new one after an outage. Leases run only during these
 * periods (`attune.time_present`). Any number of processes may note it. Returns the seconds of the outage that has ended, else null.
 */
export async function notePresence(db: Db): Promise<number | null> {
  const [begun] = await rows<{ awaySeconds: number | null }>(
    db,
    sql`with extended as (update attune.presence set seen_until = greatest(seen_until, now())
          where seen_until >= now() - make_interval(secs => ${longestGapSeconds}::int) returning id),
        forgotten as (delete from attune.presence p where exists (
          select from attune.presence n where n.id > p.id and n.created < now() - interval '1 day'))
      insert into attune.presence (seen_until) select now() where not exists (select from extended)
      returning (select extract(epoch from now() - max(p.seen_until))::float8 from attune.presence p) as "awaySeconds"`,
  );
  return begun?.awaySeconds ?? null;
}

/** Starts noting that the database is there, which is what the leases of workers are measured by. */
export function startPresence(services: Services): AsyncDisposable {
  return startLoop({
    pass: async () => {
      const awaySeconds = await notePresence(services.db);
      if (awaySeconds !== null) services.log.info({ awaySeconds }, "the database or its executors were away");
      return noteMs;
    },
    failed: (error) => services.log.error({ err: error }, "noting that the database is there"),
  });
}
