import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { isTooFar, scheduleOf, staleMark } from "./schedule.ts";

/**
 * Creates, updates or deletes the rule's timer in the caller's transaction. Other triggers have none; disabled rules do not tick. Throws
 * InvalidInputError for a new schedule without a further tick, unless it `mayHavePassed`, as in a pack's file that was written earlier.
 */
export async function syncTimer(tx: Tx, rule: { id: string }, { mayHavePassed = false } = {}): Promise<void> {
  const [row] = await rows<{
    triggerRef: string;
    enabled: boolean;
    params: JsonObject;
    kind: string | null;
    now: number;
  }>(
    tx.db,
    sql`select r.trigger_ref as "triggerRef", r.enabled as "enabled", r.trigger_params as "params", t.kind as "kind",
        (extract(epoch from now()) * 1000)::float8 as now
      from attune.rule r left join attune.timer t on t.rule = r.id where r.id = ${rule.id}::bigint`,
  );
  if (!row) return;
  const schedule = scheduleOf(row.triggerRef, row.params);
  if (schedule === null) {
    if (row.kind !== null) await tx.db.execute(sql`delete from attune.timer where rule = ${rule.id}::bigint`);
    return;
  }
  const next = schedule.next(row.now, row.now);
  if (!mayHavePassed && row.kind?.replace(staleMark, "") !== schedule.kind) {
    if (next === null) throw invalid("triggerParams", "has passed: expected a schedule that ticks in the future");
    if (isTooFar(next, row.now)) {
      throw invalid(
        "triggerParams",
        `ticks for the first time at ${new Date(next).toISOString()}: expected an earlier time`,
      );
    }
  }
  // An unchanged schedule keeps its next tick: saving a rule again must not delay it.
  await tx.db.execute(
    sql`insert into attune.timer (rule, kind, next_fire_at)
      values (${rule.id}::bigint, ${schedule.kind}, case when ${row.enabled}::boolean then to_timestamp(${next === null ? null : next / 1000}::float8) end)
      on conflict (rule) do update set kind = excluded.kind,
        next_fire_at = case when not ${row.enabled}::boolean then null
          when timer.kind = excluded.kind and timer.next_fire_at is not null then timer.next_fire_at
          else excluded.next_fire_at end`,
  );
  tx.announce("timer");
}
