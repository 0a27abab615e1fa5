import { sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import type { JsonObject } from "../lib/json.ts";
import { identityOf, type Session } from "./session.ts";

/** One entry of the audit trail. `details` must not contain secrets. */
export interface AuditEntry {
  category: "mutation" | "sign_in" | "denial" | "reveal" | "download";
  eventType: string;
  outcome: "success" | "failure" | "denied";
  session: Session | null;
  /** The login given by a sign-in without a session. */
  login?: string | null;
  ip: string | null;
  requestId: string;
  resourceType: string | null;
  resourceRef: string | null;
  details: JsonObject | null;
}

/** Appends to the audit trail; the entry of a successful change belongs in the change's transaction. */
export async function recordAudit(db: Db, entry: AuditEntry): Promise<void> {
  const { session } = entry;
  await db.execute(
    sql`insert into attune.audit_event (category, event_type, outcome, actor, actor_login, actor_kind, ip, request_id,
        resource_type, resource_ref, details)
      values (${entry.category}, ${entry.eventType}, ${entry.outcome}::attune.audit_outcome,
        ${session ? identityOf(session) : null}::bigint, ${session?.login ?? entry.login ?? null},
        ${session?.kind ?? null}, ${entry.ip}::inet, ${entry.requestId}, ${entry.resourceType}, ${entry.resourceRef},
        ${entry.details === null ? null : JSON.stringify(entry.details)}::text::jsonb)`,
  );
}
