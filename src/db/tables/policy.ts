import { sql } from "drizzle-orm";
import { boolean, check, index, integer, text, unique } from "drizzle-orm/pg-core";
import { attune, base, dotted, instant, policyMethod, reference, textList, versioned } from "../schema.ts";
import { action } from "./action.ts";
import { execution } from "./execution.ts";
import { pack } from "./pack.ts";

/** A limit on the concurrency or the rate of executions: of one action, of a pack's actions or of all. */
export const policy = attune.table(
  "policy",
  {
    ...versioned(),
    ref: text().notNull().unique(),
    packId: reference("pack").references(() => pack.id, { onDelete: "cascade" }),
    actionId: reference("action").references(() => action.id, { onDelete: "cascade" }),
    name: text().notNull(),
    description: text(),
    enabled: boolean().notNull().default(true),
    priority: integer().notNull().default(0),
    parameters: textList(),
    method: policyMethod(),
    threshold: integer(),
    rateMax: integer(),
    rateWindowSeconds: integer(),
    tags: textList(),
  },
  (t) => [
    check("policy_ref_check", dotted(t.ref)),
    check("policy_method_check", sql`(${t.method} is null) = (${t.threshold} is null)`),
    check("policy_threshold_check", sql`${t.threshold} > 0`),
    check("policy_rate_check", sql`(${t.rateMax} is null) = (${t.rateWindowSeconds} is null)`),
    check("policy_rate_max_check", sql`${t.rateMax} > 0`),
    check("policy_rate_window_seconds_check", sql`${t.rateWindowSeconds} > 0`),
    check("policy_limit_check", sql`${t.threshold} is not null or ${t.rateMax} is not null`),
    index("policy_name_idx").on(t.name, t.id),
    index("policy_priority_idx").on(t.priority, t.id),
    index("policy_created_idx").on(t.created, t.id),
    index("policy_updated_idx").on(t.updated, t.id),
    index("policy_pack_idx").on(t.packId).where(sql`${t.packId} is not null`),
    index("policy_action_idx").on(t.actionId).where(sql`${t.actionId} is not null`),
  ],
);

/**
 * The executions that share the limits of a policy: those with the same values of its parameters. Only who holds the row's lock changes
 * its numbers and slots.
 */
export const policyGroup = attune.table(
  "policy_group",
  {
    ...base(),
    policyId: reference("policy")
      .notNull()
      .references(() => policy.id, { onDelete: "cascade" }),
    key: text().notNull(),
    active: integer().notNull().default(0),
    waiting: integer().notNull().default(0),
    /** When executions that wait may be admitted although none ends: the rate allows it by then. */
    nextAt: instant(),
  },
  (t) => [
    check("policy_group_active_check", sql`${t.active} >= 0`),
    check("policy_group_waiting_check", sql`${t.waiting} >= 0`),
    unique("policy_group_policy_key_key").on(t.policyId, t.key),
    index("policy_group_next_at_idx").on(t.nextAt).where(sql`${t.nextAt} is not null`),
    index("policy_group_waiting_idx").on(t.policyId).where(sql`${t.waiting} > 0`),
  ],
);

/** An execution's place in its group: it waits, it may run, or it has ended and still counts for the rate. */
export const policySlot = attune.table(
  "policy_slot",
  {
    ...base(),
    groupId: reference("policy_group")
      .notNull()
      .references(() => policyGroup.id, { onDelete: "cascade" }),
    executionId: reference("execution")
      .notNull()
      .unique()
      .references(() => execution.id, { onDelete: "cascade" }),
    state: text({ enum: ["active", "waiting", "released"] }).notNull(),
    priority: integer().notNull().default(0),
    acquiredAt: instant(),
  },
  (t) => [
    check("policy_slot_state_check", sql`${t.state} in ('active', 'waiting', 'released')`),
    check("policy_slot_acquired_at_check", sql`(${t.state} = 'waiting') = (${t.acquiredAt} is null)`),
    index("policy_slot_group_idx").on(t.groupId, t.id),
    // Waiting executions in the order in which they are admitted.
    index("policy_slot_waiting_idx")
      .on(t.groupId, t.priority.desc().nullsFirst(), t.id)
      .where(sql`${t.state} = 'waiting'`),
    index("policy_slot_acquired_at_idx").on(t.groupId, t.acquiredAt).where(sql`${t.acquiredAt} is not null`),
    index("policy_slot_released_idx").on(t.acquiredAt).where(sql`${t.state} = 'released'`),
  ],
);
