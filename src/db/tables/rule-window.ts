import { sql } from "drizzle-orm";
import { check, index, integer, jsonb, text, uniqueIndex } from "drizzle-orm/pg-core";
import { attune, instant, reference, versioned } from "../schema.ts";
import { event } from "./event.ts";
import { rule } from "./rule.ts";

/** What the window of a rule knows of one key. Only the lock of the rule's row changes it. */
export const ruleWindow = attune.table(
  "rule_window",
  {
    ...versioned(),
    ruleId: reference("rule")
      .notNull()
      .references(() => rule.id, { onDelete: "cascade" }),
    /** Null: the window has no key. */
    key: text(),
    keyHash: text().notNull(),
    kind: text({ enum: ["throttle", "debounce", "count", "absence", "once"] }).notNull(),
    count: integer().notNull(),
    state: jsonb().$type<{ at: number; from: number | null; times: number[] }>().notNull(),
    dueAt: instant(),
    expiresAt: instant(),
    eventId: reference("event").references(() => event.id, { onDelete: "set null" }),
  },
  (t) => [
    check("rule_window_kind_check", sql`${t.kind} in ('throttle', 'debounce', 'count', 'absence', 'once')`),
    check("rule_window_count_check", sql`${t.count} >= 0`),
    uniqueIndex("rule_window_rule_key_hash_key").on(t.ruleId, t.keyHash),
    index("rule_window_rule_idx").on(t.ruleId, t.updated, t.id),
    index("rule_window_key_idx").on(t.ruleId, t.key, t.updated, t.id),
    index("rule_window_due_at_idx").on(t.dueAt).where(sql`${t.dueAt} is not null`),
    index("rule_window_expires_at_idx").on(t.expiresAt).where(sql`${t.expiresAt} is not null`),
    index("rule_window_event_idx").on(t.eventId).where(sql`${t.eventId} is not null`),
  ],
);

/** The starts of a rule with a limit, and whether they have tripped it. Only the lock of the rule's row changes it. */
export const ruleBudget = attune.table(
  "rule_budget",
  {
    ...versioned(),
    ruleId: reference("rule")
      .notNull()
      .unique()
      .references(() => rule.id, { onDelete: "cascade" }),
    periodFrom: instant().notNull(),
    starts: integer().notNull(),
    trippedAt: instant(),
    resetsAt: instant(),
  },
  (t) => [
    check("rule_budget_starts_check", sql`${t.starts} >= 0`),
    check("rule_budget_tripped_at_check", sql`(${t.trippedAt} is null) = (${t.resetsAt} is null)`),
    index("rule_budget_resets_at_idx").on(t.resetsAt).where(sql`${t.resetsAt} is not null`),
  ],
);
