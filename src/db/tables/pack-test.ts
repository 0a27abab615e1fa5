import { sql } from "drizzle-orm";
import { bigint, check, doublePrecision, index, integer, uniqueIndex, varchar } from "drizzle-orm/pg-core";
import { attune, base, instant, jsonObjectColumn, reference } from "../schema.ts";
import { execution } from "./execution.ts";
import { pack, packRelease } from "./pack.ts";

/** Why the tests of a pack were run. */
export const testReasons = ["install", "update", "manual", "validation"] as const;

/**
 * One run of a pack's tests. `failed` includes the tests that ended in an error and, once each, the runners without a readable result:
 * a run has passed if it has tests and none failed. `result` is the whole result with its suites and cases.
 */
export const packTestExecution = attune.table(
  "pack_test_execution",
  {
    ...base(),
    packId: reference("pack_id")
      .notNull()
      .references(() => pack.id, { onDelete: "cascade" }),
    packVersion: varchar({ length: 50 }).notNull(),
    executionTime: instant().notNull().defaultNow(),
    triggerReason: varchar({ length: 50, enum: testReasons }).notNull(),
    totalTests: integer().notNull(),
    passed: integer().notNull(),
    failed: integer().notNull(),
    skipped: integer().notNull(),
    passRate: doublePrecision().notNull(),
    durationMs: bigint({ mode: "bigint" }).notNull(),
    result: jsonObjectColumn().notNull(),
    /** The execution that ran them. */
    executionId: reference("execution").references(() => execution.id, { onDelete: "set null" }),
    releaseId: reference("release").references(() => packRelease.id, { onDelete: "set null" }),
  },
  (t) => [
    check("pack_test_execution_total_tests_check", sql`${t.totalTests} >= 0`),
    check("pack_test_execution_passed_check", sql`${t.passed} >= 0`),
    check("pack_test_execution_failed_check", sql`${t.failed} >= 0`),
    check("pack_test_execution_skipped_check", sql`${t.skipped} >= 0`),
    check("pack_test_execution_duration_ms_check", sql`${t.durationMs} >= 0`),
    check("pack_test_execution_pass_rate_check", sql`${t.passRate} between 0 and 1`),
    check(
      "pack_test_execution_trigger_reason_check",
      sql`${t.triggerReason} in ('install', 'update', 'manual', 'validation')`,
    ),
    index("idx_pack_test_execution_pack_id").on(t.packId),
    index("idx_pack_test_execution_time").on(t.executionTime.desc().nullsFirst()),
    index("idx_pack_test_execution_pass_rate").on(t.passRate),
    index("idx_pack_test_execution_trigger").on(t.triggerReason),
    index("idx_pack_test_execution_created").on(t.created),
    uniqueIndex("pack_test_execution_execution_key").on(t.executionId).where(sql`${t.executionId} is not null`),
    index("pack_test_execution_time_idx").on(t.executionTime, t.id),
    index("pack_test_execution_pack_time_idx").on(t.packId, t.executionTime, t.id),
    index("pack_test_execution_release_idx").on(t.releaseId, t.id).where(sql`${t.releaseId} is not null`),
  ],
);
