import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { leaveGroups, promote } from "../execution/slots.ts";
import { limited, readmitThose } from "./readmit.ts";

/** The number of rows that one pass repairs. */
const batch = sql.raw("500");

/**
 * Restores what admission keeps true, where a policy was deleted with its action or pack, or created while executions were requested, or
 * where rows were changed by hand: an execution that waits for a slot or is admitted has its place in the group of the policy that
 * applies to it, one that has ended has none, and no slot is free while another waits for it. Returns the number of repairs.
 */
export async function repairGroups(tx: Tx): Promise<number> {
  const readmitted = await readmitThose(
    tx,
    sql`select id from (${limited(sql`not exists (select from attune.policy_slot s where s.execution = e.id)`)}) e limit ${batch}`,
  );
  const ended = await rows<{ id: string; hasPlace: boolean }>(
    tx.db,
    sql`select e.id::text, true as "hasPlace" from attune.policy_slot s join attune.execution e on e.id = s.execution
      where s.state <> 'released' and attune.is_terminal(e.status) limit ${batch}`,
  );
  await leaveGroups(tx, ended);
  const stalled = await rows<{ id: string }>(
    tx.db,
    sql`select g.id::text from attune.policy_group g join attune.policy p on p.id = g.policy
      where g.waiting > 0 and (p.threshold is null or g.active < p.threshold) and (p.rate_max is null or g.next_at is null) limit ${batch}`,
  );
  const promoted = await promote(
    tx,
    stalled.map(({ id }) => id),
  );
  return readmitted + ended.length + promoted;
}

/** Deletes a batch of the starts that no rate counts any more, and of the groups that are not in use. */
export async function pruneGroups(tx: Tx): Promise<void> {
  await tx.db.execute(
    sql`delete from attune.policy_slot where id in (select s.id from attune.policy_slot s
        join attune.policy_group g on g.id = s.policy_group join attune.policy p on p.id = g.policy
      where s.state = 'released' and s.acquired_at < now() - make_interval(secs => coalesce(p.rate_window_seconds, 0))
      order by s.acquired_at limit 5000)`,
  );
  await tx.db.execute(
    sql`delete from attune.policy_group where id in (select g.id from attune.policy_group g
      where g.active = 0 and g.waiting = 0 and g.created < now() - interval '1 hour'
        and not exists (select from attune.policy_slot s where s.policy_group = g.id) limit 5000 for update skip locked)`,
  );
}
