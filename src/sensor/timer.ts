import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { startWokenLoop } from "../db/wake.ts";
import { type EventTrigger, emitEvents } from "../event/record.ts";
import type { JsonObject } from "../lib/json.ts";
import { intervalSeconds } from "../rule/timer.ts";

const batch = 100;
/** Fallback for missed wake-ups; also limits the delay after the clock was changed. */
const pollMs = 5000;
/** The pause while the disk has no room for events; ticks that are missed meanwhile are skipped. */
const shortageMs = 1000;

/** Starts the timers. Any number of processes may run them; each tick emits one event. */
export function startTimers(services: Services): AsyncDisposable {
  return startWokenLoop(services.wake, "timer", {
    pass: async () => {
      if (services.room.shortage() !== null) return shortageMs;
      return (await fireDue(services)) === batch ? 0 : await untilNext(services);
    },
    failed: (error) => services.log.error({ err: error }, "timers"),
  });
}

interface DueTimer {
  id: string;
  rule: string;
  params: JsonObject;
  trigger: EventTrigger;
  due: string;
  fireCount: number;
}

/**
 * Claims due timers and emits their events in one transaction. The next tick is computed from the previous one; missed ticks are
 * skipped. Returns how many timers fired.
 */
async function fireDue(services: Services): Promise<number> {
  return await write(services, async (tx) => {
    const due = await rows<DueTimer & { now: string }>(
      tx.db,
      sql`select t.id::text as "id", t.rule::text as "rule", r.trigger_params as "params", t.fire_count::int as "fireCount",
          to_jsonb(t.next_fire_at) #>> '{}' as "due", to_jsonb(now()) #>> '{}' as "now",
          jsonb_build_object('id', g.id::text, 'ref', g.ref, 'enabled', g.enabled, 'outSchema', g.out_schema) as "trigger"
        from attune.timer t join attune.rule r on r.id = t.rule join attune.trigger g on g.id = r.trigger
        where t.next_fire_at <= now() and r.enabled and g.enabled
        order by t.next_fire_at limit ${sql.raw(String(batch))} for no key update of t skip locked`,
    );
    if (due.length === 0) return 0;
    const next = due.map(({ id, params }) => ({ id, seconds: intervalSeconds(params) }));
    await tx.db.execute(
      sql`update attune.timer t set last_fired_at = now(), fire_count = t.fire_count + 1,
          next_fire_at = t.next_fire_at + make_interval(secs => n.seconds
            * (1 + floor(extract(epoch from now() - t.next_fire_at) / n.seconds)))
        from jsonb_to_recordset(${JSON.stringify(next)}::text::jsonb) as n(id bigint, seconds int) where t.id = n.id`,
    );
    await emitEvents(
      tx,
      due.map((timer) => ({
        trigger: timer.trigger,
        payload: {
          scheduled_at: new Date(timer.due).toISOString(),
          fired_at: new Date(timer.now).toISOString(),
          fire_count: timer.fireCount + 1,
        },
        config: timer.params,
        source: null,
        rule: timer.rule,
        traceTag: null,
        cause: null,
        generation: 0,
      })),
    );
    return due.length;
  });
}

async function untilNext(services: Services): Promise<number> {
  const [next] = await rows<{ ms: number | null }>(
    services.db,
    sql`select (extract(epoch from min(t.next_fire_at) - clock_timestamp()) * 1000)::float8 as ms
      from attune.timer t join attune.rule r on r.id = t.rule join attune.trigger g on g.id = r.trigger
      where t.next_fire_at is not null and r.enabled and g.enabled`,
  );
  return Math.min(pollMs, Math.max(1, Math.ceil(next?.ms ?? pollMs)));
}
