import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { hashOf } from "./sessions.ts";

/** How long a token outlives its execution's deadline, if nothing else revokes it. */
const graceSeconds = 60;

/**
 * Creates the token of a running execution that names permission sets, and returns its value; null when the attempt has ended or its
 * identity no longer exists. The token has the grants of the sets that its identity holds: the identity that requested the execution,
 * else the rule's owner. For a rule of a pack's files there is no identity, and the token has all grants of the sets. The end of the
 * attempt revokes it (the database's `executions_stop`).
 */
export async function createExecutionToken(tx: Tx, execution: { id: string; attempt: number }): Promise<string | null> {
  const value = `att_execution_${randomBytes(32).toString("base64url")}`;
  // A child without an executor belongs to the rule that started its root.
  const created = await rows(
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
  return created.length > 0 ? value : null;
}
