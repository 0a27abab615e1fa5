import { sql } from "drizzle-orm";
import { index, inet, text } from "drizzle-orm/pg-core";
import { attune, auditOutcome, base, jsonObjectColumn, reference } from "../schema.ts";
import { identity } from "./identity.ts";

/** The audit trail: who did what, or tried to. Append-only; only retention removes rows. */
export const auditEvent = attune.table(
  "audit_event",
  {
    ...base(),
    category: text().notNull(),
    eventType: text().notNull(),
    outcome: auditOutcome().notNull(),
    actorId: reference("actor").references(() => identity.id, { onDelete: "set null" }),
    actorLogin: text(),
    actorKind: text(),
    ip: inet(),
    requestId: text(),
    resourceType: text(),
    resourceRef: text(),
    details: jsonObjectColumn(),
  },
  (t) => [
    index("audit_event_created_idx").on(t.created, t.id),
    index("audit_event_category_idx").on(t.category, t.created, t.id),
    index("audit_event_event_type_idx").on(t.eventType, t.created, t.id),
    index("audit_event_outcome_idx").on(t.outcome, t.created, t.id),
    index("audit_event_actor_idx").on(t.actorId, t.created, t.id).where(sql`${t.actorId} is not null`),
    index("audit_event_actor_login_idx").on(t.actorLogin, t.created, t.id),
    index("audit_event_resource_idx").on(t.resourceType, t.created, t.id),
    index("audit_event_resource_ref_idx").on(t.resourceRef, t.created, t.id),
    index("audit_event_request_id_idx").on(t.requestId, t.created, t.id),
  ],
);
