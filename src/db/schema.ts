import { sql } from "drizzle-orm";
import { type AnyPgColumn, bigint, jsonb, snakeCase, text, timestamp } from "drizzle-orm/pg-core";
import type { Json, JsonObject } from "../lib/json.ts";

/** The Postgres schema of every table, enum and function of the project. */
export const attune = snakeCase.schema("attune");

export const runtimeType = attune.enum("runtime_type", ["action", "sensor"]);
export const workerType = attune.enum("worker_type", ["local", "remote", "container"]);
export const workerStatus = attune.enum("worker_status", ["active", "inactive", "busy", "error"]);
export const enforcementStatus = attune.enum("enforcement_status", ["created", "processed", "disabled"]);
export const enforcementCondition = attune.enum("enforcement_condition", ["any", "all"]);
export const executionStatus = attune.enum("execution_status", [
  "requested",
  "scheduling",
  "scheduled",
  "running",
  "completed",
  "failed",
  "canceling",
  "cancelled",
  "timeout",
  "abandoned",
]);
export const ownerType = attune.enum("owner_type", ["system", "identity", "pack", "action", "sensor"]);
export const inquiryStatus = attune.enum("inquiry_status", ["pending", "responded", "timeout", "cancelled"]);
export const policyMethod = attune.enum("policy_method", ["cancel", "enqueue"]);
export const artifactType = attune.enum("artifact_type", [
  "file_binary",
  "file_datatable",
  "file_image",
  "file_text",
  "other",
  "progress",
  "url",
]);
export const artifactRetention = attune.enum("artifact_retention", ["versions", "days", "hours", "minutes"]);
export const visibility = attune.enum("visibility", ["public", "private"]);
export const auditOutcome = attune.enum("audit_outcome", ["success", "failure", "denied"]);
export const packEnvironmentStatus = attune.enum("pack_environment_status", [
  "pending",
  "installing",
  "ready",
  "failed",
  "outdated",
]);
export const sensorProcessStatus = attune.enum("sensor_process_status", [
  "starting",
  "running",
  "stopping",
  "waiting",
  "stopped",
]);
export const logStream = attune.enum("log_stream", ["stdout", "stderr", "system"]);

/** `timestamptz(3)`: the precision of a JavaScript Date, so that a cursor with it finds its row again. */
export const instant = () => timestamp({ withTimezone: true, precision: 3 });
/** A column for another entity's id, with or without a foreign key. */
export const reference = (name: string) => bigint(name, { mode: "bigint" });
export const jsonColumn = () => jsonb().$type<Json>();
export const jsonObjectColumn = () => jsonb().$type<JsonObject>();
/** The encrypted values of secret settings, by JSON pointer. */
export const sealedSettings = () => jsonb().$type<Readonly<Record<string, string>>>().notNull().default({});
/** A non-null list of texts. */
export const textList = () => text().array().notNull().default(sql`'{}'::text[]`);

const id = () => bigint({ mode: "bigint" }).primaryKey().generatedAlwaysAsIdentity();
const created = () => instant().notNull().defaultNow();

/** The columns of every table. */
export const base = () => ({ id: id(), created: created() });
/** The columns of a table whose rows change: `updated` increases strictly with every update and serves as a version. */
export const versioned = () => ({ ...base(), updated: instant().notNull().defaultNow() });

/** SQL: a trace tag for a row that is inserted without one. */
export const newTraceTag = sql`gen_random_uuid()::text`;

/** SQL: whether the column is a ref in a pack: lower case with exactly one dot. */
export const dotted = (column: AnyPgColumn) => sql`${column} = lower(${column}) and ${column} ~ '^[^.]+\\.[^.]+$'`;
/** SQL: whether the column is a `traceparent` header. */
export const traceparent = (column: AnyPgColumn) => sql`${column} ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$'`;
/** SQL: the pack of a ref such as `pack.name`. Filters, grants and indexes must use this same expression, else no index is used. */
export const packOf = (column: AnyPgColumn) => sql`split_part(${column}, '.', 1)`;
