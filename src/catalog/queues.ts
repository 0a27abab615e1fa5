import { sql } from "drizzle-orm";
import { z } from "zod";
import { rows } from "../db/client.ts";
import { type Queue, queueOf } from "../db/jobs.ts";
import type { Services } from "../db/services.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import { text } from "../schema/fields.ts";
import { runtimeRef } from "./manifest.ts";
import type { CheckedPack } from "./read.ts";

/** The labels that a worker must have, by name. */
export const selectorOf = z.record(text(100).min(1), text(200));

/** A runtime's ref and the labels that it takes to run something in it. */
interface Selecting {
  runtime: string;
  selector: unknown;
}

async function nameQueue(db: Services["db"], { runtime, selector }: Selecting): Promise<Queue> {
  const named = queueOf(sql`${runtime}::text`, sql`${JSON.stringify(selector)}::text::jsonb`);
  const [found] = await rows<{ queue: Queue }>(db, sql`select ${named} as queue`);
  if (!found) throw new Error("a select without a table returned no row");
  return found.queue;
}

const isSelecting = (selector: unknown) =>
  typeof selector === "object" && selector !== null && Object.keys(selector).length > 0;

/** Opens every queue that executions are or may be in, as each must be open before the first transaction that uses it. */
export async function openQueues({ db, jobs }: Services): Promise<void> {
  const found = await rows<{ queue: Queue }>(
    db,
    sql`select ${queueOf(sql`ref`, sql`'{}'`)} as queue from attune.runtime where runtime_type = 'action'
      union select ${queueOf(sql`rt.ref`, sql`a.worker_selector`)} from attune.action a join attune.runtime rt on rt.id = a.runtime
      union select ${queueOf(sql`rt.ref`, sql`e.worker_selector`)} from attune.execution e join attune.action a on a.id = e.action
          join attune.runtime rt on rt.id = a.runtime
        where not attune.is_terminal(e.status) and e.worker_selector <> '{}'`,
  );
  for (const { queue } of found) await jobs.open(queue);
}

/** Opens the queues of a pack's actions that select workers, before the pack is loaded. */
export async function preparePack({ db, jobs }: Services, { actions }: CheckedPack): Promise<void> {
  for (const { runner_type, worker_selector: selector } of actions) {
    const runtime = runtimeRef(runner_type);
    if (runtime !== null && isSelecting(selector)) await jobs.open(await nameQueue(db, { runtime, selector }));
  }
}

/** Opens the queue that an action will have with these fields, before the transaction that creates or changes it, which checks them. */
export async function prepareAction(
  { db, jobs }: Services,
  { ref, runtime = null, workerSelector = null }: { ref: string; runtime?: string | null; workerSelector?: unknown },
): Promise<void> {
  if (runtime === null && workerSelector === null) return;
  const given = selectorOf.safeParse(workerSelector ?? {});
  if (!given.success) return;
  const [found] = await rows<Selecting>(
    db,
    sql`select rt.ref as runtime, coalesce(${workerSelector === null ? null : JSON.stringify(given.data)}::text::jsonb, a.worker_selector) as selector
      from (values (${ref}::text, ${runtime}::text)) n(ref, runtime) left join attune.action a on a.ref = n.ref
        left join attune.runtime ar on ar.id = a.runtime join attune.runtime rt on rt.ref = coalesce(n.runtime, ar.ref)
      where rt.runtime_type = 'action'`,
  );
  if (found && isSelecting(found.selector)) await jobs.open(await nameQueue(db, found));
}

/** Throws ConflictError when the action's queue is not open: it was changed between its preparation and the transaction. */
export async function requireQueue(tx: Tx, action: Selecting): Promise<void> {
  if (!isSelecting(action.selector)) return;
  if (!tx.jobs.isOpen(await nameQueue(tx.db, action))) {
    throw new ConflictError("The action was changed by another request at the same time: try again.");
  }
  tx.announce("queues");
}
