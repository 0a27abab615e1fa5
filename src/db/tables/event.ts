import { sql } from "drizzle-orm";
import { boolean, check, index, integer, jsonb, text, uniqueIndex } from "drizzle-orm/pg-core";
import type { Json } from "../../lib/json.ts";
import {
  attune,
  base,
  instant,
  jsonColumn,
  jsonObjectColumn,
  newTraceTag,
  packOf,
  reference,
  traceparent,
  versioned,
} from "../schema.ts";
import { rule } from "./rule.ts";
import { sensor } from "./sensor.ts";
import { trigger } from "./trigger.ts";

/** Something that happened: stored first, then evaluated against every enabled rule of its trigger. */
export const event = attune.table(
  "event",
  {
    ...versioned(),
    triggerId: reference("trigger").references(() => trigger.id, { onDelete: "set null" }),
    triggerRef: text().notNull(),
    config: jsonObjectColumn(),
    payload: jsonColumn(),
    sourceId: reference("source").references(() => sensor.id, { onDelete: "set null" }),
    sourceRef: text(),
    ruleId: reference("rule").references(() => rule.id, { onDelete: "set null" }),
    traceTag: text().notNull().default(newTraceTag),
    /** Its place in a distributed trace, as a `traceparent` header. */
    traceContext: text(),
    causeExecutionId: reference("cause_execution"),
    generation: integer().notNull().default(0),
    evaluatedAt: instant(),
    tries: integer().notNull().default(0),
    skipped: text(),
    /** How many evaluations without a match were not recorded, because as many as an event may have were. */
    evaluationsOmitted: integer().notNull().default(0),
  },
  (t) => [
    index("event_created_idx").on(t.created, t.id),
    index("event_trigger_idx").on(t.triggerId, t.created, t.id),
    index("event_trigger_ref_idx").on(t.triggerRef, t.created, t.id),
    index("event_pack_idx").on(packOf(t.triggerRef), t.created, t.id),
    index("event_source_idx").on(t.sourceId, t.created, t.id).where(sql`${t.sourceId} is not null`),
    index("event_source_ref_idx").on(t.sourceRef, t.created, t.id).where(sql`${t.sourceRef} is not null`),
    index("event_rule_idx").on(t.ruleId).where(sql`${t.ruleId} is not null`),
    index("event_cause_execution_idx")
      .on(t.causeExecutionId, t.created, t.id)
      .where(sql`${t.causeExecutionId} is not null`),
    check("event_trace_context_check", traceparent(t.traceContext)),
    index("event_trace_tag_idx").on(t.traceTag, t.created, t.id),
    index("event_payload_idx").using("gin", t.payload.op("jsonb_path_ops")),
  ],
);

/**
 * The events that have not been evaluated: the queue of the executors. A trigger adds each event that is inserted without `evaluated_at`; the
 * transaction that evaluates it deletes the row. No index contains `evaluated_at`, so that setting it writes no entry of any index.
 */
export const pendingEvent = attune.table("pending_event", {
  ...base(),
  eventId: reference("event")
    .notNull()
    .unique()
    .references(() => event.id, { onDelete: "cascade" }),
  /** Not to be evaluated again before this time, after a try that failed; null: at once. */
  retryAt: instant(),
});

/** What may keep a match from starting its rule's action: its window, and what else `docs/windows.md` lists. */
export const holds = [
  "undecided",
  "throttle",
  "debounce",
  "count",
  "absence",
  "once",
  "max_starts",
  "keys",
  "disabled",
  "answer",
] as const;
export type Hold = (typeof holds)[number];

/** How one rule judged one event, criterion by criterion. */
export const ruleEvaluation = attune.table(
  "rule_evaluation",
  {
    ...base(),
    eventId: reference("event")
      .notNull()
      .references(() => event.id, { onDelete: "cascade" }),
    ruleId: reference("rule")
      .notNull()
      .references(() => rule.id, { onDelete: "cascade" }),
    ruleRevision: integer().notNull(),
    matched: boolean().notNull(),
    detail: jsonb().$type<Json[]>().notNull(),
    /** What kept a match from starting the rule's action, or `answer`; null: nothing. */
    held: text({ enum: holds }),
    /** Whether the rule's window has still to decide about it. */
    pending: boolean().notNull().default(false),
    /** The key of the window as it is shown, and its hash; null: the match needed no decision, or the window has no key. */
    key: text(),
    keyHash: text(),
  },
  (t) => [
    check("rule_evaluation_held_check", sql`${t.held} in (${sql.raw(holds.map((hold) => `'${hold}'`).join(", "))})`),
    check(
      "rule_evaluation_pending_check",
      sql`not ${t.pending} or (${t.keyHash} is not null and ${t.held} is not null)`,
    ),
    uniqueIndex("rule_evaluation_decided_key").on(t.ruleId, t.eventId, t.matched).where(sql`${t.keyHash} is not null`),
    index("rule_evaluation_pending_idx").on(t.ruleId, t.eventId).where(sql`${t.pending}`),
    index("rule_evaluation_event_idx").on(t.eventId),
    index("rule_evaluation_rule_idx").on(t.ruleId, t.created, t.id),
  ],
);
