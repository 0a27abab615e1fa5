import { type SQL, sql } from "drizzle-orm";
import { idsOf, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { enqueue, type Scheduled } from "./enqueue.ts";

/** An execution's place in a policy's group. */
export interface Place {
  group: string;
  state: "active" | "waiting";
  /** Whether time alone may admit it, because the policy has a rate. */
  timed: boolean;
}

/** A group that this transaction has locked, with its numbers and its policy's limits. */
export interface Group {
  id: string;
  policyRef: string;
  active: number;
  waiting: number;
  /** Null where the policy has only a rate: what exceeds it waits. */
  method: "cancel" | "enqueue" | null;
  threshold: number | null;
  rateMax: number | null;
  rateWindowSeconds: number | null;
  /** The starts within the window that ends now, at most `rateMax`; null without a rate. */
  started: number | null;
}

/** What `enterGroups` needs to know of an execution: its policy and its parameters, or the stored execution that has them. */
export interface Entering {
  policy: string | null;
  config?: unknown;
  execution?: string;
}

/**
 * Locks the groups of executions that are to be admitted, and creates those that are missing. Returns for each execution its group, which
 * executions of one group share; null where no policy applies.
 */
export async function enterGroups(tx: Tx, entering: readonly Entering[]): Promise<(Group | null)[]> {
  const input = entering.flatMap((each, ord) => (each.policy === null ? [] : [{ ord, ...each }]));
  if (input.length === 0) return entering.map(() => null);
  const entered = await rows<Group & { ord: number }>(
    tx.db,
    sql`select ord, policy_group::text as "id", policy_ref as "policyRef", active, waiting, method, threshold,
        rate_max as "rateMax", rate_window_seconds as "rateWindowSeconds", started
      from attune.policy_enter(${JSON.stringify(input)}::text::jsonb)`,
  );
  const groups = new Map<string, Group>();
  const found = new Map<number, Group>();
  for (const { ord, ...group } of entered) {
    const shared = groups.get(group.id) ?? group;
    groups.set(group.id, shared);
    found.set(ord, shared);
  }
  return entering.map((_, ord) => found.get(ord) ?? null);
}

/** Stores the places of executions in groups that this transaction has locked. */
export async function takePlaces(
  tx: Tx,
  places: readonly (Place & { execution: string; priority: number })[],
): Promise<void> {
  if (places.length === 0) return;
  await rows(
    tx.db,
    sql`insert into attune.policy_slot (policy_group, execution, state, priority, acquired_at)
      select r."group", r.execution, r.state, r.priority, case when r.state = 'active' then clock_timestamp() end
      from rows from (jsonb_to_recordset(${JSON.stringify(places)}::text::jsonb)
        as ("group" bigint, execution bigint, state text, priority int)) with ordinality r order by r.ordinality`,
  );
  const timed = new Set(places.flatMap(({ group, state, timed }) => (timed && state === "waiting" ? [group] : [])));
  await promote(tx, [...timed]); // stores when to try again
}

/** SQL: whether the execution `e` has a place in a group. */
export const hasPlace: SQL = sql.raw(
  "exists (select from attune.policy_slot s where s.execution = e.id and s.state <> 'released')",
);

/** Frees the places of executions that have ended, and schedules those that waited for them. */
export async function leaveGroups(tx: Tx, ended: readonly { id: string; hasPlace: boolean }[]): Promise<void> {
  const ids = ended.flatMap(({ id, hasPlace }) => (hasPlace ? [id] : []));
  if (ids.length > 0) await schedule(tx, sql`attune.policy_leave(${idsOf(ids)})`);
}

/** Removes executions from their groups, though they have not ended, and returns the groups. */
export async function vacate(tx: Tx, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return [];
  const [row] = await rows<{ groups: string[] }>(
    tx.db,
    sql`select attune.policy_vacate(${idsOf(ids)}, false)::text[] as groups`,
  );
  return row?.groups ?? [];
}

/** Schedules executions that wait in these groups, as far as the limits allow it now. Returns their number. */
export async function promote(tx: Tx, groups: readonly string[]): Promise<number> {
  return groups.length === 0 ? 0 : await schedule(tx, sql`attune.policy_promote(${idsOf(groups)})`);
}

/** Enqueues the executions that the function has scheduled. Returns their number. */
async function schedule(tx: Tx, promoting: SQL): Promise<number> {
  const promoted = await rows<Scheduled | { id: null } | { id: string; queue: null }>(
    tx.db,
    sql`select p.id::text, p.queue, p.priority from ${promoting} p`,
  );
  if (promoted.some(({ id }) => id === null)) tx.announce("admission");
  // Those whose action was deleted are left to the sweep, which fails them.
  await enqueue(
    tx,
    promoted.filter((each): each is Scheduled => each.id !== null && each.queue !== null),
  );
  return promoted.filter(({ id }) => id !== null).length;
}
