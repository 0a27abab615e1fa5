import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { startWokenLoop } from "../db/wake.ts";
import { type EventTrigger, emitEvents, type NewEvent } from "../event/record.ts";
import type { JsonObject } from "../lib/json.ts";
import { judgeTick, type MissedTicks, scheduleOf, staleMark } from "../rule/schedule.ts";

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
  ruleRef: string;
  /** Identifies the schedule of which the due tick is one. */
  kind: string;
  params: JsonObject;
  trigger: EventTrigger;
  /** In milliseconds since 1970, as is `now`. */
  due: number;
  now: number;
  fireCount: number;
}

/**
 * Claims due timers, and emits their events and stores their next ticks in one transaction. The next tick follows from the one that was due;
 * what happens to those that were missed is the rule's choice. Returns how many timers were due.
 */
async function fireDue(services: Services): Promise<number> {
  return await write(services, async (tx) => {
    const due = await rows<DueTimer>(
      tx.db,
      sql`select t.id::text as "id", t.rule::text as "rule", r.ref as "ruleRef", t.kind as "kind", r.trigger_params as "params", t.fire_count::int as "fireCount",
          (extract(epoch from t.next_fire_at) * 1000)::float8 as "due", (extract(epoch from now()) * 1000)::float8 as "now",
          jsonb_build_object('id', g.id::text, 'ref', g.ref, 'enabled', g.enabled, 'outSchema', g.out_schema) as "trigger"
        from attune.timer t join attune.rule r on r.id = t.rule join attune.trigger g on g.id = r.trigger
        where t.next_fire_at <= now() and r.enabled
        order by t.next_fire_at limit ${sql.raw(String(batch))} for no key update of t skip locked`,
    );
    if (due.length === 0) return 0;
    const ticks = due.map((timer) => ({ timer, ...judge(services.log, timer) }));
    const next = ticks.map(({ timer: { id }, happens, kind, next: at }) => ({
      id,
      happens,
      kind,
      at: at === null ? null : at / 1000,
    }));
    await tx.db.execute(
      sql`update attune.timer t set next_fire_at = to_timestamp(n.at), kind = n.kind, fire_count = t.fire_count + n.happens::int,
          last_fired_at = case when n.happens then now() else t.last_fired_at end
        from jsonb_to_recordset(${JSON.stringify(next)}::text::jsonb) as n(id bigint, happens boolean, kind text, at float8) where t.id = n.id`,
    );
    await emitEvents(
      tx,
      ticks.flatMap(({ timer, happens }) => (happens ? [eventOf(timer)] : [])),
    );
    return due.length;
  });
}

interface Judged {
  happens: boolean;
  next: number | null;
  kind: string;
}

/** Judges a due tick. A timer whose schedule cannot be read, such as one in a zone that the system no longer knows, stops; the others go on. */
function judge(log: Services["log"], timer: DueTimer): Judged {
  try {
    return judgeReadable(timer);
  } catch (error) {
    log.error(
      { err: error, rule: timer.ruleRef },
      "a timer stopped, because its schedule cannot be read: save its rule again",
    );
    return { happens: false, next: null, kind: timer.kind };
  }
}

function judgeReadable({ trigger, params, kind, due, now }: DueTimer): Judged {
  const schedule = scheduleOf(trigger.ref, params);
  if (schedule === null) return { happens: false, next: null, kind }; // a row that a later version wrote
  // The clock of a disabled trigger goes on, so that nothing stale happens when it is enabled again.
  if (!trigger.enabled || kind.startsWith(staleMark)) {
    return { happens: false, next: schedule.next(due, now), kind: schedule.kind };
  }
  const missed = params["missed_ticks"] as MissedTicks | undefined; // by the trigger's schema
  return { ...judgeTick(schedule, missed ?? "once", { due, now }), kind: schedule.kind };
}

function eventOf({ trigger, params, rule, due, now, fireCount }: DueTimer): NewEvent {
  return {
    trigger,
    payload: {
      scheduled_at: new Date(due).toISOString(),
      fired_at: new Date(now).toISOString(),
      fire_count: fireCount + 1,
    },
    config: params,
    source: null,
    rule,
    traceTag: null,
    cause: null,
    generation: 0,
  };
}

async function untilNext(services: Services): Promise<number> {
  const [next] = await rows<{ ms: number | null }>(
    services.db,
    sql`select (extract(epoch from min(t.next_fire_at) - clock_timestamp()) * 1000)::float8 as ms
      from attune.timer t join attune.rule r on r.id = t.rule
      where t.next_fire_at is not null and r.enabled and r.trigger is not null`,
  );
  return Math.min(pollMs, Math.max(1, Math.ceil(next?.ms ?? pollMs)));
}
