import { sql } from "drizzle-orm";
import { authorizeFound, targetOf } from "../access/grants.ts";
import { identityOf, type Session } from "../access/session.ts";
import { anyOf, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import { countEnded } from "./ended.ts";
import { hasPlace, leaveGroups } from "./slots.ts";
import { cancellable, type ExecutionStatus, hasStatusIn, isTerminal, type WaitsFor } from "./states.ts";

/**
 * Cancels an execution and its descendants. Those that no worker runs are cancelled at once; the others are asked to stop
 * (`canceling`) and end when their workers report it. Throws NotFoundError, ForbiddenError, ConflictError when it has already ended.
 */
export async function cancelExecution(
  tx: Tx,
  session: Session,
  input: { id: bigint; reason: string | null },
): Promise<{ id: bigint }> {
  const id = String(input.id);
  const reason = input.reason ?? `cancelled by ${session.login}`;
  const tree = await lockTree(tx, id);
  const found = tree.find((execution) => execution.id === id);
  const own = authorizeFound(session, "cancel", found, {
    resource: "execution",
    name: id,
    target: ({ ref, executor }) => targetOf(ref, executor === null ? null : BigInt(executor)),
  });
  if (isTerminal(own.status)) throw new ConflictError(`The execution has already ended (${own.status}).`);
  const ended = await rows<Ended>(
    tx.db,
    sql`update attune.execution e set
          status = case when status = 'running' then 'canceling' else 'cancelled' end::attune.execution_status,
          finished_at = case when status = 'running' then null else clock_timestamp() end,
          waits_for = case when status = 'running' then waits_for end,
          reason = ${reason}, cancel_requested_at = now(), cancel_requested_by = ${identityOf(session)}::bigint
        where ${hasStatusIn(cancellable)} and id = ${anyOf(tree.map((each) => each.id))}
        returning e.id::text, e.status, e.status = 'cancelled' and ${hasPlace} as "hasPlace"`,
  );
  const parked = tree.filter(({ waitsFor }) => waitsFor !== null);
  if (parked.length > 0) {
    ended.push(
      ...(await rows<Ended>(
        tx.db,
        sql`update attune.execution e set status = 'cancelled', waits_for = null, finished_at = clock_timestamp()
          where ${hasStatusIn(["canceling"])} and waits_for is not null and id = ${anyOf(parked.map((each) => each.id))}
          returning e.id::text, e.status, ${hasPlace} as "hasPlace"`,
      )),
    );
  }
  countEnded(tx, ended);
  await leaveGroups(tx, ended);
  tx.announce("cancel");
  for (const each of tree) tx.announce(`log:${each.id}`);
  return { id: input.id };
}

interface Ended {
  id: string;
  status: ExecutionStatus;
  hasPlace: boolean;
}

interface Member {
  id: string;
  status: ExecutionStatus;
  waitsFor: WaitsFor | null;
  ref: string;
  executor: string | null;
}

/**
 * Locks and returns the execution and its descendants. Creating a child takes the same lock: once all are held, none is added. What is below
 * a deleted execution has lost its parent, but not its root.
 */
async function lockTree(tx: Tx, id: string): Promise<Member[]> {
  for (let locked = 0; ; ) {
    const tree = await rows<Member>(
      tx.db,
      sql`with recursive tree as (
          (select id from attune.execution where id = ${id}::bigint union select id from attune.execution where root = ${id}::bigint)
          union select c.id from attune.execution c join tree t on c.parent = t.id)
        select e.id::text, e.status, e.waits_for as "waitsFor", e.action_ref as ref,
          e.executor::text from attune.execution e
          where e.id in (select id from tree) order by e.id for no key update`,
    );
    if (tree.length === locked) return tree;
    locked = tree.length;
  }
}
