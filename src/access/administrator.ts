import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import { everyGrant, holds, readGrants } from "./grants.ts";

/** Returns whether an identity that may sign in holds the unconstrained grant of everything. */
async function hasAdministrator(tx: Tx): Promise<boolean> {
  const held = await rows<{ grants: unknown[] }>(
    tx.db,
    sql`select s.grants as "grants" from attune.permission_set s
      where s.grants @> '[{"resource": "*", "actions": ["*"]}]'
        and exists (select from attune.identity i where not i.frozen and (
          exists (select from attune.permission_assignment a where a.identity = i.id and a.permission_set = s.id)
          or exists (select from attune.permission_set_role p join attune.identity_role r on r.role = p.role
            where p.permission_set = s.id and r.identity = i.id)))`,
  );
  return held.some(({ grants }) => everyGrant.every((grant) => holds(readGrants(grants), grant)));
}

/**
 * Runs a change that may remove rights; such changes run one at a time. Throws ConflictError when no administrator would be left.
 */
export async function keepAdministrator<T>(tx: Tx, change: () => Promise<T>): Promise<T> {
  await rows(tx.db, sql`select pg_advisory_xact_lock(hashtextextended('attune.administrator', 0))`);
  const before = await hasAdministrator(tx);
  const result = await change();
  if (before && !(await hasAdministrator(tx))) {
    throw new ConflictError("No administrator would be left: assign core.admin to another identity first.");
  }
  return result;
}
