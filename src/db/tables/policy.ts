import { sql } from "drizzle-orm";
import { boolean, check, index, integer, text } from "drizzle-orm/pg-core";
import { attune, dotted, policyMethod, reference, textList, versioned } from "../schema.ts";
import { action } from "./action.ts";
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
