import { sql } from "drizzle-orm";
import { lockRow } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { invalid } from "../errors.ts";

const longest = 36_500;

/**
 * Deletes the runs of a pack's tests that are older than these days; the stamp of the newest in the pack's `meta` stays. Returns the pack
 * and how many were deleted. Throws NotFoundError, ForbiddenError, and InvalidInputError for days out of range.
 */
export async function deleteTestRuns(
  tx: Tx,
  session: Session,
  { pack: ref, olderThanDays: days }: { pack: string; olderThanDays: number },
): Promise<{ id: bigint; count: number }> {
  if (days < 0 || days > longest) throw invalid("olderThanDays", `must be from 0 to ${longest}`);
  const { id } = await lockRow(tx, session, { of: "pack", doing: "update", which: { ref } });
  const [deleted] = await rows<{ count: number }>(
    tx.db,
    sql`with deleted as (delete from attune.pack_test_execution
        where pack_id = ${String(id)}::bigint and execution_time < now() - make_interval(days => ${days}::int) returning 1)
      select count(*)::int as count from deleted`,
  );
  return { id, count: deleted?.count ?? 0 };
}
