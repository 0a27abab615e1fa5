import { sql } from "drizzle-orm";
import { check, index, text } from "drizzle-orm/pg-core";
import { attune, inquiryStatus, instant, jsonColumn, jsonObjectColumn, reference, versioned } from "../schema.ts";
import { execution } from "./execution.ts";
import { identity } from "./identity.ts";

/** A question to a person, with or without an execution that waits for the response. */
export const inquiry = attune.table(
  "inquiry",
  {
    ...versioned(),
    executionId: reference("execution").references(() => execution.id, { onDelete: "cascade" }),
    prompt: text().notNull(),
    responseSchema: jsonObjectColumn(),
    assignedToId: reference("assigned_to").references(() => identity.id, { onDelete: "set null" }),
    assignedRole: text(),
    status: inquiryStatus().notNull().default("pending"),
    response: jsonColumn(),
    timeoutAt: instant(),
    defaultResponse: jsonColumn(),
    respondedById: reference("responded_by").references(() => identity.id, { onDelete: "set null" }),
    respondedAt: instant(),
  },
  (t) => [
    check("inquiry_responded_at_check", sql`(${t.status} = 'responded') = (${t.respondedAt} is not null)`),
    index("inquiry_execution_idx").on(t.executionId, t.created, t.id).where(sql`${t.executionId} is not null`),
    index("inquiry_assigned_to_idx").on(t.assignedToId, t.created, t.id).where(sql`${t.assignedToId} is not null`),
    index("inquiry_assigned_role_idx").on(t.assignedRole, t.created, t.id).where(sql`${t.assignedRole} is not null`),
    index("inquiry_responded_by_idx").on(t.respondedById, t.created, t.id).where(sql`${t.respondedById} is not null`),
    index("inquiry_timeout_at_idx").on(t.timeoutAt).where(sql`${t.status} = 'pending' and ${t.timeoutAt} is not null`),
    index("inquiry_status_idx").on(t.status, t.created, t.id),
    index("inquiry_created_idx").on(t.created, t.id),
  ],
);
