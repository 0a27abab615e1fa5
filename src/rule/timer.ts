import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";

/** The trigger whose rules each have their own timer. */
export const intervalTimer = "core.intervaltimer";

const unitSeconds: Readonly<Record<string, number>> = { seconds: 1, minutes: 60, hours: 3600, days: 86_400 };
const longestSeconds = 10 * 365 * 86_400;

/** Returns the interval of a rule's `trigger_params` in seconds. Throws InvalidInputError when they define none. */
export function intervalSeconds(params: JsonObject): number {
  const { unit, interval } = params;
  const seconds = typeof unit === "string" && typeof interval === "number" ? (unitSeconds[unit] ?? 0) * interval : 0;
  if (!(seconds >= 1 && seconds <= longestSeconds)) {
    throw invalid("triggerParams.interval", "must be an interval of at least one second and at most ten years");
  }
  return seconds;
}

/** Creates, updates or deletes the rule's timer in the caller's transaction. Other triggers have none; disabled rules do not tick. */
export async function syncTimer(tx: Tx, rule: { id: string }): Promise<void> {
  const [row] = await rows<{ triggerRef: string; enabled: boolean; params: JsonObject; kind: string | null }>(
    tx.db,
    sql`select r.trigger_ref as "triggerRef", r.enabled as "enabled", r.trigger_params as "params", t.kind as "kind"
      from attune.rule r left join attune.timer t on t.rule = r.id where r.id = ${rule.id}::bigint`,
  );
  if (!row) return;
  if (row.triggerRef !== intervalTimer) {
    if (row.kind !== null) await tx.db.execute(sql`delete from attune.timer where rule = ${rule.id}::bigint`);
    return;
  }
  const seconds = intervalSeconds(row.params);
  // An unchanged interval keeps its next tick: saving a rule again must not delay it.
  const kind = `interval:${seconds}`;
  await tx.db.execute(
    sql`insert into attune.timer (rule, kind, next_fire_at)
      values (${rule.id}::bigint, ${kind}, case when ${row.enabled}::boolean then now() + make_interval(secs => ${seconds}::int) end)
      on conflict (rule) do update set kind = excluded.kind,
        next_fire_at = case when not ${row.enabled}::boolean then null
          when timer.kind = excluded.kind and timer.next_fire_at is not null then timer.next_fire_at
          else excluded.next_fire_at end`,
  );
  tx.announce("timer");
}
