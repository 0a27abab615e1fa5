import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { hashOf } from "./sessions.ts";

/** Beyond its execution's deadline nobody needs a token, whatever else fails to end it. */
const graceSeconds = 60;

/**
 * Makes the token of a running execution that names permission sets, and answers its value; null when the attempt is over, or
 * when nobody stands behind it any more. It gives what the sets give, as far as whoever is behind the execution holds that: who
 * asked for it, else the owner of the rule; nobody but the pack itself, where the rule is a pack's own. The end of the attempt
 * revokes it (the database's `execution_over`).
 */
export async function createExecutionToken(tx: Tx, execution: { id: string; attempt: number }): Promise<string | null> {
  const value = `att_execution_${randomBytes(32).toString("base64url")}`;
  // A part whose executor is null was started by an execution that the same rule stands behind: the rule of its root.
  const made = await rows(
    tx.db,
    sql`insert into attune.token (kind, token_hash, identity, execution, permission_set_refs, label, expires_at)
      select 'execution', ${hashOf(value)}, coalesce(e.executor, r.owner), e.id, e.permission_set_refs, e.action_ref,
        e.deadline + make_interval(secs => ${graceSeconds}::int)
      from attune.execution e left join attune.execution top on top.id = e.root
        left join attune.enforcement f on f.id = coalesce(top.enforcement, e.enforcement)
        left join attune.rule r on r.id = f.rule
      where e.id = ${execution.id}::bigint and e.attempt = ${execution.attempt}::int and e.status = 'running'
        and (e.executor is not null or r.owner is not null or not r.is_adhoc)
      returning id`,
  );
  return made.length > 0 ? value : null;
}
