import { sql } from "drizzle-orm";
import { anyOf, rows } from "../db/client.ts";
import { type Queue, queueOf } from "../db/jobs.ts";
import type { Tx } from "../db/tx.ts";
import { countEnded } from "./ended.ts";
import { enqueue } from "./enqueue.ts";
import type { ExecutionError } from "./finish.ts";
import { type Entering, enterGroups, type Group, type Place, takePlaces } from "./slots.ts";
import { type firstStatuses, hasStatusIn, type WaitsFor } from "./states.ts";

/** The decision on an execution: it is `scheduled`, waits for something first, or ends. */
export interface Admission {
  status: (typeof firstStatuses)[number];
  waitsFor: WaitsFor | null;
  reason: string | null;
  error: ExecutionError | null;
  /** Its place in the group of the policy that applies to it. */
  place: Place | null;
}

const free: Admission = { status: "scheduled", waitsFor: null, reason: null, error: null, place: null };

/**
 * Decides for each execution, in order, whether it is scheduled now, waits for a slot or is rejected, by the policy that applies to it.
 * Locks the groups in which they run, until the caller's transaction has stored the decisions.
 */
export async function admit(tx: Tx, entering: readonly Entering[]): Promise<Admission[]> {
  if (entering.every(({ policy }) => policy === null)) return entering.map(() => free);
  const groups = await enterGroups(tx, entering);
  return groups.map((group) => (group === null ? free : decide(group)));
}

/** Decides on the next execution of a group, and counts it. */
function decide(group: Group): Admission {
  const { policyRef, threshold, rateMax, rateWindowSeconds } = group;
  const place = (state: Place["state"]) => ({ group: group.id, state, timed: rateMax !== null });
  const isFull = threshold !== null && group.active >= threshold;
  const isFast = rateMax !== null && (group.started ?? 0) >= rateMax;
  if (!isFull && !isFast && group.waiting === 0) {
    group.active += 1;
    if (group.started !== null) group.started += 1;
    return { ...free, place: place("active") };
  }
  if (group.method === "cancel") {
    const limit = isFull ? `${threshold} at once` : `${rateMax} in ${rateWindowSeconds} s`;
    return { ...free, status: "cancelled", reason: `the policy ${policyRef} admits ${limit}` };
  }
  group.waiting += 1;
  const reason = `waits for a slot of the policy ${policyRef}`;
  return { ...free, status: "scheduling", waitsFor: "slot", reason, place: place("waiting") };
}

interface Stored {
  id: string;
  priority: number;
  policy: string | null;
  queue: Queue | null;
}

/**
 * Admits stored executions that have not been scheduled and have no place in a group, in the given order. The caller holds their
 * locks. Those whose action no longer exists fail.
 */
export async function admitStored(tx: Tx, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.db.execute(
    sql`update attune.execution set status = 'scheduling', waits_for = null where ${hasStatusIn(["requested"])} and id = ${anyOf(ids)}`,
  );
  const found = await rows<Stored>(
    tx.db,
    sql`select e.id::text, e.priority, ap.policy::text, ${queueOf(sql`rt.ref`, sql`e.worker_selector`)} as queue from attune.execution e
        left join attune.action a on a.id = e.action left join attune.runtime rt on rt.id = a.runtime
        left join attune.action_policy ap on ap.action = a.id
      where e.id = ${anyOf(ids)} and ${hasStatusIn(["scheduling"], "e.status")}`,
  );
  const byId = new Map(found.map((each) => [each.id, each]));
  const stored = ids.flatMap((id) => byId.get(id) ?? []);
  const runnable = stored.filter(({ queue }) => queue !== null);
  const admissions = await admit(
    tx,
    runnable.map(({ id, policy }) => ({ policy, execution: id })),
  );
  const decided = new Map(runnable.map(({ id }, index) => [id, admissions[index] ?? free]));
  await storeDecisions(
    tx,
    stored.map((each) => ({ ...each, ...(decided.get(each.id) ?? gone) })),
  );
}

const goneReason = "its action no longer exists";
const gone: Admission = {
  ...free,
  status: "failed",
  reason: goneReason,
  error: { code: "UNSCHEDULABLE", message: goneReason },
};

async function storeDecisions(tx: Tx, decided: readonly (Stored & Admission)[]): Promise<void> {
  const input = decided.map(({ id, status, waitsFor, reason, error }) => ({ id, status, waitsFor, reason, error }));
  await tx.db.execute(
    sql`update attune.execution e set status = r.status::attune.execution_status, waits_for = r."waitsFor", reason = r.reason,
        error = r.error, scheduled_at = case when r.status = 'scheduled' then now() end,
        finished_at = case when attune.is_terminal(r.status::attune.execution_status) then clock_timestamp() end
      from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb) as r(id bigint, status text, "waitsFor" text, reason text, error jsonb)
      where e.id = r.id and e.id = ${anyOf(decided.map(({ id }) => id))} and ${hasStatusIn(["scheduling"], "e.status")}`,
  );
  countEnded(tx, decided);
  await takePlaces(
    tx,
    decided.flatMap(({ id, priority, place }) => (place ? [{ ...place, execution: id, priority }] : [])),
  );
  await enqueue(
    tx,
    decided.flatMap(({ id, priority, queue, status }) =>
      status === "scheduled" && queue !== null ? [{ id, queue, priority }] : [],
    ),
  );
}
