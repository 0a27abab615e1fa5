import { type SQL, sql } from "drizzle-orm";
import { anyOf, type Db, rows } from "../db/client.ts";
import type { RetentionDays, RetentionName } from "../lib/retention.ts";
import { type Cutoffs, type Rule, ruleNames, rules } from "./rules.ts";

/** What one batch did. `after` is the id of the last old row that it looked at. */
export interface Batch {
  removed: number;
  after: string;
  hasMore: boolean;
}

/** Returns the times before which rows are old; a rule that keeps its rows for ever has none. */
export function cutoffsOf(days: RetentionDays): Cutoffs {
  const cutoff = (name: RetentionName) =>
    days[name] === 0 ? sql`'-infinity'::timestamptz` : sql`(now() - make_interval(days => ${days[name]}::int))`;
  return Object.fromEntries(ruleNames.map((name) => [name, cutoff(name)])) as Record<RetentionName, SQL>; // of all names
}

const tableOf = ({ table }: Rule) => sql.raw(`attune.${table}`);

/** Counts the rows that `removeBatch` would delete, and changes nothing. */
export async function countBatch(
  db: Db,
  name: RetentionName,
  range: { cutoffs: Cutoffs; after: string },
): Promise<Batch> {
  const rule = rules[name];
  const { old, ...batch } = await look(db, name, range);
  if (old.length === 0) return { ...batch, removed: 0 };
  const [counted] = await rows<{ count: number }>(
    db,
    sql`select count(*)::int as count from ${tableOf(rule)} t where t.id = ${anyOf(old)} and ${rule.isDone(range.cutoffs)}`,
  );
  return { ...batch, removed: counted?.count ?? 0 };
}

/**
 * Deletes those of the next rows after the id `after` that are old and no longer needed. Their number, and the number of rows that are read, are
 * bounded; rows that another transaction has locked are left for later. Deletions by age are not entries of the notification log.
 */
export async function removeBatch(
  db: Db,
  name: RetentionName,
  range: { cutoffs: Cutoffs; after: string },
): Promise<Batch> {
  const rule = rules[name];
  const { old, ...batch } = await look(db, name, range);
  if (old.length === 0) return { ...batch, removed: 0 };
  await db.execute(sql`select set_config('attune.retention', 'on', true)`);
  const removed = await rows<{ id: string }>(
    db,
    sql`delete from ${tableOf(rule)} d using (select t.id from ${tableOf(rule)} t
        where t.id = ${anyOf(old)} and ${rule.isDone(range.cutoffs)} order by t.id for update of t skip locked) gone
      where d.id = gone.id returning d.id::text`,
  );
  await db.execute(sql`select set_config('attune.retention', '', true)`);
  if (name === "notifications") await expireCursors(db, removed);
  return { ...batch, removed: removed.length };
}

/** Finds the old ones of the next rows in the order of their ids, which is nearly that of their creation. */
async function look(
  db: Db,
  name: RetentionName,
  { cutoffs, after }: { cutoffs: Cutoffs; after: string },
): Promise<Omit<Batch, "removed"> & { old: string[] }> {
  const rule = rules[name];
  const found = await rows<{ id: string; isOld: boolean }>(
    db,
    sql`select id::text, created < ${cutoffs[name]} as "isOld" from (select t.id, t.created from ${tableOf(rule)} t
      where t.id > ${after}::bigint order by t.id limit ${rule.batch}::int) t order by t.id`,
  );
  const old = found.flatMap(({ id, isOld }) => (isOld ? [id] : []));
  return { old, after: old.at(-1) ?? after, hasMore: old.length > 0 && found.length === rule.batch };
}

/** Stores the newest id that was removed from the notification log: cursors before it have expired. */
async function expireCursors(db: Db, removed: readonly { id: string }[]): Promise<void> {
  if (removed.length === 0) return;
  await db.execute(
    sql`insert into attune.notification_retention as r (pruned_id)
      select max(id) from unnest(${`{${removed.map(({ id }) => id).join(",")}}`}::text::bigint[]) id
      on conflict (singleton) do update set pruned_id = greatest(r.pruned_id, excluded.pruned_id)`,
  );
}
