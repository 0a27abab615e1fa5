import { type SQL, sql } from "drizzle-orm";
import type { Session } from "../access/session.ts";
import type { Tx } from "../db/tx.ts";
import { invalid } from "../errors.ts";
import type { RetentionDays, RetentionName } from "../lib/retention.ts";
import { countBatch, cutoffsOf, removeBatch } from "./remove.ts";
import { ruleNames, rules } from "./rules.ts";

export interface Purge {
  /** Null: all rules. */
  name: RetentionName | null;
  /** Null: what the settings no longer keep. */
  olderThan: Date | null;
  dryRun: boolean;
  /** `next` of the previous call. */
  after: string | null;
  days: RetentionDays;
}

export interface Purged {
  purged: { name: RetentionName; count: number }[];
  next: string | null;
}

/** The number of batches of one call, so that no transaction takes long. */
const mostBatches = 10;

/**
 * Deletes rows that are old and no longer needed, as far as one call goes; with `dryRun` it counts them. Throws InvalidInputError for an
 * `after` that no call with this name returned, and for a time to come.
 */
export async function purge(
  tx: Tx,
  _session: Session,
  { name, olderThan, dryRun, after, days }: Purge,
): Promise<Purged> {
  if (olderThan !== null && olderThan.getTime() > Date.now()) throw invalid("olderThan", "must be in the past");
  const selected = name === null ? ruleNames.filter((each) => olderThan !== null || days[each] > 0) : [name];
  let { turn, id } = readPosition(after, selected);
  const cutoffs = { ...cutoffsOf(days), ...Object.fromEntries(selected.flatMap((each) => earlier(each, olderThan))) };
  const purged: Purged["purged"] = [];
  for (let batches = 0; batches < mostBatches; batches += 1) {
    const current = selected[turn];
    if (current === undefined) return { purged, next: null };
    const batch = await (dryRun ? countBatch : removeBatch)(tx.db, current, { cutoffs, after: id });
    add(purged, current, batch.removed);
    turn = batch.hasMore ? turn : turn + 1;
    id = batch.hasMore ? batch.after : "0";
  }
  const following = selected[turn];
  return { purged, next: following === undefined ? null : `${following}.${id}` };
}

function earlier(name: RetentionName, olderThan: Date | null): [RetentionName, SQL][] {
  if (olderThan === null || rules[name].isFixed) return [];
  return [[name, sql`${olderThan.toISOString()}::timestamptz`]];
}

function add(purged: Purged["purged"], name: RetentionName, count: number): void {
  const last = purged.at(-1);
  if (last?.name === name) last.count += count;
  else purged.push({ name, count });
}

function readPosition(after: string | null, selected: readonly RetentionName[]): { turn: number; id: string } {
  if (after === null) return { turn: 0, id: "0" };
  const [, name, id] = /^([a-z_]{1,40})\.(\d{1,18})$/.exec(after) ?? [];
  const turn = (selected as readonly (string | undefined)[]).indexOf(name);
  if (id === undefined || turn < 0) throw invalid("after", "must be the `next` of the previous call");
  return { turn, id };
}
