import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { RetentionDays, RetentionName } from "../lib/retention.ts";
import { countBatch, cutoffsOf } from "./remove.ts";
import { ruleNames, rules } from "./rules.ts";

/** A rule, and what it would delete now of the first rows of its table. */
export interface Overview {
  name: RetentionName;
  description: string;
  days: number;
  removable: number;
  hasMore: boolean;
  oldest: Date | null;
}

/** Returns every rule with what it would delete. The cost does not depend on the sizes of the tables: one batch of each is read. */
export async function retentionOverview(db: Db, days: RetentionDays): Promise<Overview[]> {
  const found: Overview[] = [];
  const cutoffs = cutoffsOf(days);
  for (const name of ruleNames) {
    const { table, description } = rules[name];
    const { removed, hasMore } = await countBatch(db, name, { cutoffs, after: "0" });
    const [first] = await rows<{ ms: number }>(
      db,
      sql`select (extract(epoch from t.created) * 1000)::float8 as ms from ${sql.raw(`attune.${table}`)} t order by t.id limit 1`,
    );
    found.push({
      name,
      description,
      days: days[name],
      removable: removed,
      hasMore,
      oldest: first ? new Date(first.ms) : null,
    });
  }
  return found;
}
