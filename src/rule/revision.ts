import { sql } from "drizzle-orm";
import { lockRow, type Which } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { anyOf, type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import { type Json, type JsonObject, sameJson } from "../lib/json.ts";
import type { RuleFields } from "./definition.ts";
import { updateRule } from "./rule.ts";

/** A field that differs between two revisions. A field that a revision does not have, because it is newer, is null. */
export interface RuleChange {
  field: string;
  before: Json;
  after: Json;
}

/** Returns a stored definition, whose keys are names of columns, with the names that fields have. */
export function readDefinition(stored: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(stored).map(([column, value]) => [
      column.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  );
}

function compare(before: JsonObject, after: JsonObject): RuleChange[] {
  const [from, to] = [readDefinition(before), readDefinition(after)];
  const fields = [...new Set([...Object.keys(to), ...Object.keys(from)])].sort();
  return fields
    .map((field) => ({ field, before: from[field] ?? null, after: to[field] ?? null }))
    .filter((change) => !sameJson(change.before, change.after));
}

/**
 * Returns what revisions, by their ids, changed since the revision `since` of their rule, or since the one before each. One without such a
 * revision is missing.
 */
export async function findChanges(
  db: Db,
  ids: readonly bigint[],
  since: number | null,
): Promise<ReadonlyMap<bigint, RuleChange[]>> {
  const found = await rows<{ id: string; before: JsonObject; after: JsonObject }>(
    db,
    sql`select r.id::text as id, b.definition as before, r.definition as after
      from attune.rule_revision r join lateral (select definition from attune.rule_revision b
        where b.rule = r.rule and ${since === null ? sql`b.number < r.number` : sql`b.number = ${since}::int`}
        order by b.number desc limit 1) b on true
      where r.id = ${anyOf(ids.map(String))}`,
  );
  return new Map(found.map(({ id, before, after }) => [BigInt(id), compare(before, after)]));
}

/**
 * Changes a rule to what it was in a revision, except that it remains enabled or disabled. It is an update with the same checks: the session's
 * identity becomes the owner. Throws the same errors as `updateRule`, and ConflictError when the revision does not exist or is no longer kept.
 */
export async function restoreRule(
  tx: Tx,
  session: Session,
  { revision, ...which }: Which<"rule"> & { revision: number },
): Promise<{ id: bigint }> {
  const { id, ref, revision: newest } = await lockRow(tx, session, { of: "rule", doing: "update", which });
  const [found] = await rows<{ definition: JsonObject }>(
    tx.db,
    sql`select definition from attune.rule_revision where rule = ${String(id)}::bigint and number = ${revision}::int`,
  );
  if (!found) {
    throw new ConflictError(`The rule "${ref}" has no revision ${revision}: its newest is ${newest}, and old ones go.`);
  }
  const { enabled: _, actionRef, triggerRef, ...fields } = readDefinition(found.definition);
  const patch = { ...fields, action: actionRef, trigger: triggerRef } as RuleFields; // as the verb had stored it, which checks it again
  return await updateRule(tx, session, { ...which, patch });
}
