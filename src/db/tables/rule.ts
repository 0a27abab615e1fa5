import { sql } from "drizzle-orm";
import { bigint, boolean, check, index, integer, jsonb, text, uniqueIndex } from "drizzle-orm/pg-core";
import type { Json } from "../../lib/json.ts";
import {
  attune,
  base,
  dotted,
  enforcementCondition,
  instant,
  jsonObjectColumn,
  reference,
  versioned,
} from "../schema.ts";
import { action } from "./action.ts";
import { identity } from "./identity.ts";
import { pack } from "./pack.ts";
import { trigger } from "./trigger.ts";

/** Runs its action when an event of its trigger meets its conditions. */
export const rule = attune.table(
  "rule",
  {
    ...versioned(),
    ref: text().notNull().unique(),
    packId: reference("pack")
      .notNull()
      .references(() => pack.id, { onDelete: "cascade" }),
    packRef: text().notNull(),
    label: text().notNull(),
    description: text(),
    actionId: reference("action").references(() => action.id, { onDelete: "set null" }),
    actionRef: text().notNull(),
    triggerId: reference("trigger").references(() => trigger.id, { onDelete: "set null" }),
    triggerRef: text().notNull(),
    condition: enforcementCondition().notNull().default("all"),
    conditions: jsonb().$type<Json[]>().notNull().default([]),
    actionParams: jsonObjectColumn().notNull().default({}),
    triggerParams: jsonObjectColumn().notNull().default({}),
    enabled: boolean().notNull().default(true),
    isAdhoc: boolean().notNull().default(false),
    revision: integer().notNull().default(1),
    recordEvaluations: text({ enum: ["none", "near", "all"] })
      .notNull()
      .default("near"),
    /** Which of its matches start its action; null: each. */
    window: jsonObjectColumn(),
    /** How many starts within which time trip it; null: any number is right. */
    maxStarts: jsonObjectColumn(),
    /** Whether it matches only events that no other rule of its trigger matched. */
    backstop: boolean().notNull().default(false),
    /** When it matches events at all; null: always. */
    activeHours: jsonObjectColumn(),
    /** The priority of the executions that it starts. */
    executionPriority: integer().notNull().default(0),
    ownerId: reference("owner").references(() => identity.id, { onDelete: "set null" }),
  },
  (t) => [
    check("rule_ref_check", dotted(t.ref)),
    check("rule_record_evaluations_check", sql`${t.recordEvaluations} in ('none', 'near', 'all')`),
    index("rule_pack_idx").on(t.packId),
    index("rule_label_idx").on(t.label, t.id),
    index("rule_created_idx").on(t.created, t.id),
    index("rule_updated_idx").on(t.updated, t.id),
    index("rule_action_idx").on(t.actionId),
    index("rule_trigger_idx").on(t.triggerId),
    // The events that answer those of a rule, by their trigger.
    index("rule_answer_idx")
      .on(sql`coalesce(${t.window} #>> '{absence,of,trigger}', ${t.triggerRef})`)
      .where(sql`${t.window} ? 'absence'`),
    index("rule_owner_idx").on(t.ownerId).where(sql`${t.ownerId} is not null`),
  ],
);

/** What a rule was from one change to the next. Database triggers write it, on whatever way the rule changes. */
export const ruleRevision = attune.table(
  "rule_revision",
  {
    ...base(),
    ruleId: reference("rule")
      .notNull()
      .references(() => rule.id, { onDelete: "cascade" }),
    number: integer().notNull(),
    /** The columns of the rule that users set or files bring, by their names. */
    definition: jsonObjectColumn().notNull(),
    ownerId: reference("owner").references(() => identity.id, { onDelete: "set null" }),
  },
  (t) => [
    uniqueIndex("rule_revision_rule_number_key").on(t.ruleId, t.number),
    index("rule_revision_rule_idx").on(t.ruleId, t.id),
    index("rule_revision_owner_idx").on(t.ownerId).where(sql`${t.ownerId} is not null`),
  ],
);

/**
 * The `rules_revision` of its trigger at which a rule, or anything that it is compiled from, last changed. Database triggers write it under
 * the lock of the trigger's row. A foreign key to the rule would lock in the other order.
 */
export const ruleChange = attune.table(
  "rule_change",
  {
    ...base(),
    ruleId: reference("rule").notNull().unique(),
    triggerId: reference("trigger")
      .notNull()
      .references(() => trigger.id, { onDelete: "cascade" }),
    revision: bigint({ mode: "bigint" }).notNull(),
  },
  (t) => [index("rule_change_trigger_idx").on(t.triggerId, t.revision)],
);

/** The next tick of a rule on a timer trigger. */
export const timer = attune.table(
  "timer",
  {
    ...versioned(),
    ruleId: reference("rule")
      .notNull()
      .unique()
      .references(() => rule.id, { onDelete: "cascade" }),
    kind: text().notNull(),
    nextFireAt: instant(),
    lastFiredAt: instant(),
    fireCount: bigint({ mode: "bigint" }).notNull().default(sql`0`),
  },
  (t) => [index("timer_next_fire_at_idx").on(t.nextFireAt).where(sql`${t.nextFireAt} is not null`)],
);
