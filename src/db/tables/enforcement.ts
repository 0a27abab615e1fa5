import { sql } from "drizzle-orm";
import { index, integer, jsonb, text, uniqueIndex } from "drizzle-orm/pg-core";
import type { Json } from "../../lib/json.ts";
import {
  attune,
  enforcementCondition,
  enforcementStatus,
  instant,
  jsonObjectColumn,
  packOf,
  reference,
  versioned,
} from "../schema.ts";
import { event } from "./event.ts";
import { rule } from "./rule.ts";

/** One rule matched one event: at most one enforcement for each pair. */
export const enforcement = attune.table(
  "enforcement",
  {
    ...versioned(),
    ruleId: reference("rule").references(() => rule.id, { onDelete: "set null" }),
    ruleRef: text().notNull(),
    /** Null for one from before revisions were kept. */
    ruleRevision: integer(),
    triggerRef: text().notNull(),
    config: jsonObjectColumn(),
    eventId: reference("event").references(() => event.id, { onDelete: "set null" }),
    status: enforcementStatus().notNull().default("created"),
    payload: jsonb().$type<Json>().notNull().default({}),
    condition: enforcementCondition().notNull().default("all"),
    conditions: jsonb().$type<Json[]>().notNull().default([]),
    resolvedAt: instant(),
    error: jsonObjectColumn(),
  },
  (t) => [
    uniqueIndex("enforcement_rule_event_key").on(t.ruleId, t.eventId).where(sql`${t.ruleId} is not null`),
    index("enforcement_event_idx").on(t.eventId),
    index("enforcement_created_idx").on(t.created, t.id),
    index("enforcement_rule_idx").on(t.ruleId, t.created, t.id),
    index("enforcement_rule_ref_idx").on(t.ruleRef, t.created, t.id),
    index("enforcement_pack_idx").on(packOf(t.ruleRef), t.created, t.id),
    index("enforcement_trigger_ref_idx").on(t.triggerRef, t.created, t.id),
    index("enforcement_status_idx").on(t.status, t.created, t.id),
  ],
);
