import { type SQL, sql } from "drizzle-orm";
import { anyOf, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { admitStored } from "../execution/admit.ts";
import { enterGroups, type Place, promote, takePlaces, vacate } from "../execution/slots.ts";
import { admitted, statusIn } from "../execution/states.ts";

/** SQL: whether the execution `e` waits for a slot, may be claimed or runs. */
const isAdmitted: SQL = sql`(${statusIn(admitted, "e.status")} or e.waits_for = 'slot')`;

/** SQL: the executions `e` for which a policy applies or that wait for a slot, with the policy in `ap`; each part by an index of its own. */
export const limited = (
  condition: SQL,
): SQL => sql`select e.id from attune.execution e join attune.action_policy ap on ap.action = e.action
    where ${statusIn(admitted, "e.status")} and ${condition}
  union all select e.id from attune.execution e left join attune.action_policy ap on ap.action = e.action
    where e.waits_for = 'slot' and ${condition}`;

/** Schedules the executions that wait for this policy's limits, which have changed. */
export async function applyLimits(tx: Tx, policy: bigint): Promise<void> {
  const groups = await rows<{ id: string }>(
    tx.db,
    sql`select id::text from attune.policy_group where policy = ${policy} and waiting > 0`,
  );
  await promote(
    tx,
    groups.map(({ id }) => id),
  );
}

/**
 * Admits again, in the order in which they waited, the executions that this policy applied to or applies to now. Those that may run or
 * run already keep running, and count in the group to which they belong now, even above its limit.
 */
export async function readmit(tx: Tx, policy: bigint): Promise<void> {
  await readmitThose(
    tx,
    sql`select s.execution from attune.policy_slot s join attune.policy_group g on g.id = s.policy_group
        where g.policy = ${policy} and s.state <> 'released'
      union all ${limited(sql`ap.policy = ${policy}`)}`,
  );
}

interface Affected {
  id: string;
  waits: boolean;
  priority: number;
  policy: string | null;
}

/** The same for the executions with the ids that the query returns. Returns their number. */
export async function readmitThose(tx: Tx, ids: SQL): Promise<number> {
  const affected = await lockAffected(tx, ids);
  await regroup(tx, affected);
  return affected.length;
}

/** Locks executions before groups, as every transaction does: none of them ends meanwhile. */
async function lockAffected(tx: Tx, ids: SQL): Promise<Affected[]> {
  const locked = await rows<{ id: string }>(
    tx.db,
    sql`select e.id::text from attune.execution e where e.id = any (array(${ids})) order by e.id for no key update of e`,
  );
  return await rows<Affected>(
    tx.db,
    sql`select e.id::text, e.status = 'scheduling' as waits, e.priority, ap.policy::text
      from attune.execution e left join attune.policy_slot s on s.execution = e.id
        left join attune.action_policy ap on ap.action = e.action
      where e.id = ${anyOf(locked.map(({ id }) => id))} and ${isAdmitted} order by e.priority desc, s.id nulls last, e.id`,
  );
}

async function regroup(tx: Tx, affected: readonly Affected[]): Promise<void> {
  const left = await vacate(
    tx,
    affected.map(({ id }) => id),
  );
  const running = affected.filter(({ waits }) => !waits);
  const groups = await enterGroups(
    tx,
    running.map(({ id, policy }) => ({ policy, execution: id })),
  );
  await takePlaces(
    tx,
    running.flatMap(({ id, priority }, index): (Place & { execution: string; priority: number })[] => {
      const group = groups[index];
      return group ? [{ group: group.id, state: "active", timed: false, execution: id, priority }] : [];
    }),
  );
  await admitStored(
    tx,
    affected.flatMap(({ id, waits }) => (waits ? [id] : [])),
  );
  await promote(tx, left);
}
