import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import { everyGrant, holds, readGrants } from "./grants.ts";

/** Whether an identity that may sign in holds the grant of everything, without a constraint. */
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
 * Makes a change that may take rights away, one such change after another; throws ConflictError when it leaves nobody who may do
 * everything.
 */
export async function keepAdministrator<T>(tx: Tx, change: () => Promise<T>): Promise<T> {
  await rows(tx.db, sql`select pg_advisory_xact_lock(hashtextextended('attune.administrator', 0))`);
  const before = await hasAdministrator(tx);
  const result = await change();
  if (before && !(await hasAdministrator(tx))) {
    throw new ConflictError("Nobody would be left who may do everything: give somebody else core.admin first.");
  }
  return result;
}
