import { getTableName } from "drizzle-orm";
import { getTableConfig, type PgTable } from "drizzle-orm/pg-core";
import { ConflictError, InvalidInputError, type Issue, type Refusal } from "../errors.ts";
import { tables } from "./tables.ts";

/** A driver's error for a violated constraint: postgres.js uses the names with `_name`, PGlite the others. */
export interface Violation {
  code?: string;
  detail?: string;
  message: string;
  table_name?: string;
  table?: string;
  column_name?: string;
  column?: string;
  constraint_name?: string;
  constraint?: string;
}

/** A violated constraint: its table, its name and, if the error names one, the column. */
interface Found {
  table: PgTable;
  name: string;
  constraint: string;
  column: string;
  detail: string;
}

const componentRef = "must be a ref such as my_pack.my_name: lower case, exactly one dot";
const role = "must be lower case: a letter, then at most 62 letters, digits, _ or -";
const traceHeader = "must be a traceparent header of version 00";
const positive = "must be greater than 0";

/**
 * The message for each check. A check whose middle part is a column's name is about that column; the others have a path. Checks of a
 * column's enum need no entry.
 */
const checks: Readonly<Record<string, { path?: string; message: string }>> = {
  action_ref_check: { message: componentRef },
  action_timeout_seconds_check: { message: positive },
  artifact_retention_limit_check: { message: positive },
  artifact_version_content_check: { message: "must be given unless storageKey is" },
  artifact_version_sha256_check: { message: "must be 64 hexadecimal digits in lower case" },
  artifact_version_size_check: { message: "must not be negative" },
  artifact_version_version_check: { message: positive },
  execution_attempt_check: { message: "must not be negative" },
  execution_finished_at_check: { message: "must be given exactly when the status is final" },
  event_trace_context_check: { message: traceHeader },
  execution_trace_context_check: { message: traceHeader },
  execution_timeout_seconds_check: { message: positive },
  execution_waiting_check: {
    path: "waitsFor",
    message: "must be null with a worker, and while the status is scheduled or final",
  },
  execution_worker_check: { message: "must be given while the execution is in progress and waits for nothing" },
  identity_role_role_check: { message: role },
  inquiry_responded_at_check: { message: "must be given exactly when the status is responded" },
  key_encryption_check: { path: "encrypted", message: "must be true exactly when the value is encrypted" },
  key_name_check: { message: "must be at most 63 of a-z, 0-9, _ and -, and begin with a letter or a digit" },
  key_owner_check: {
    path: "ownerType",
    message: "must be the type of the given owner, which must exist; system has none",
  },
  notification_retention_singleton_check: { message: "must be 1" },
  pack_environment_claim_expires_at_check: { message: "must be given exactly while the status is installing" },
  pack_ref_check: { message: "must be at least two of a-z, 0-9, _ and -, and begin with a letter" },
  pack_test_execution_duration_ms_check: { message: "must not be negative" },
  pack_test_execution_failed_check: { message: "must not be negative" },
  pack_test_execution_pass_rate_check: { message: "must be between 0 and 1" },
  pack_test_execution_passed_check: { message: "must not be negative" },
  pack_test_execution_skipped_check: { message: "must not be negative" },
  pack_test_execution_total_tests_check: { message: "must not be negative" },
  pack_test_execution_trigger_reason_check: { message: "must be install, update, manual or validation" },
  permission_set_ref_check: { message: componentRef },
  permission_set_role_role_check: { message: role },
  policy_group_active_check: { message: "must not be negative" },
  policy_group_waiting_check: { message: "must not be negative" },
  policy_limit_check: { path: "threshold", message: "is required where there is no rateMax" },
  policy_method_check: { message: "must be given exactly when a threshold is" },
  policy_rate_check: { path: "rateMax", message: "must be given together with rateWindowSeconds" },
  policy_rate_max_check: { message: positive },
  policy_rate_window_seconds_check: { message: positive },
  policy_ref_check: { message: componentRef },
  policy_slot_acquired_at_check: { message: "must be null exactly while the state is waiting" },
  policy_threshold_check: { message: positive },
  presence_seen_until_check: { message: "must not be earlier than created" },
  rule_budget_starts_check: { message: "must not be negative" },
  rule_budget_tripped_at_check: { message: "must come with resetsAt, and only with it" },
  rule_evaluation_pending_check: { message: "must not be true without a key and what holds the match back" },
  rule_ref_check: { message: componentRef },
  rule_window_count_check: { message: "must not be negative" },
  runtime_runtime_type_check: { message: "must be the second part of the ref: action or sensor" },
  runtime_ref_check: {
    message: "must be a ref such as my_pack.action.my_name or my_pack.sensor.my_name, in lower case",
  },
  sensor_process_lease_expires_at_check: {
    message: "must be given exactly while the status is starting, running or stopping",
  },
  sensor_process_next_start_at_check: { message: "must be null unless the status is waiting" },
  sensor_ref_check: { message: componentRef },
  trigger_ref_check: { message: componentRef },
  worker_drains_at_check: { message: "must be null unless the worker is cordoned" },
  worker_port_check: { message: "must be from 1 to 65535" },
  workflow_definition_ref_check: { message: componentRef },
};

/** Constraints of database triggers that report a conflict with stored rows. Null: the message is the trigger's. */
const conflicts: Readonly<Record<string, string | null>> = {
  execution_move: null,
  execution_terminal: "The execution has ended: it cannot change.",
  audit_event_append_only: "The audit trail is append-only.",
};

/** Columns that the database computes, with the field from which it computes them. */
const computedFrom: Readonly<Record<string, string>> = { "key.ref": "name" };

/** Unique columns whose values a message may show; values of others may be secret. */
const showable: ReadonlySet<string> = new Set(["ref", "login", "role", "version", "seq"]);

/**
 * Returns the refusal for a violated constraint: InvalidInputError with the API's path of the field, or ConflictError. Null if the
 * error is not about a constraint of this schema.
 */
export function refusalOf(violation: Violation, options: ErrorOptions): Refusal | null {
  const name = violation.table_name ?? violation.table ?? "";
  const table = Object.values(tables).find((each) => getTableName(each) === name);
  if (!table) return null;
  const found = {
    table,
    name,
    constraint: violation.constraint_name ?? violation.constraint ?? "",
    column: violation.column_name ?? violation.column ?? "",
    detail: violation.detail ?? "",
  };
  const invalid = (issue: Issue) => new InvalidInputError([issue], options);
  switch (violation.code) {
    case "23502":
      return invalid({ path: computedFrom[`${name}.${found.column}`] ?? camel(found.column), message: "is required" });
    case "23505":
      return new ConflictError(takenMessage(found), options);
    case "23001": // PostgreSQL 18 has a code of its own for RESTRICT
    case "23503": {
      const { path, target } = referenceOf(found);
      if (path === null) return new ConflictError(dependentMessage(found, target), options);
      return invalid({ path, message: `must be ${a(target)} that exists` });
    }
    case "23514": {
      const conflict = conflicts[found.constraint];
      if (conflict !== undefined) return new ConflictError(conflict ?? sentence(violation.message), options);
      const issue = issueOf(found);
      return issue && invalid(issue);
    }
    default:
      return null;
  }
}

function issueOf({ table, name, constraint }: Found): Issue | null {
  const middle = constraint.slice(name.length + 1, -"_check".length);
  const column = getTableConfig(table).columns.find((each) => each.name === middle);
  const check = checks[constraint];
  if (check) return { path: check.path ?? camel(middle), message: check.message };
  return column?.enumValues?.length
    ? { path: camel(middle), message: `must be ${list(column.enumValues, "or")}` }
    : null;
}

/** Reads the columns and values of an error's detail in any language: `(ref)=(core.echo)`. An expression after them is left out. */
function keyOf(detail: string): { columns: string[]; value: string } {
  const [, columns = "", value = ""] = /\(([^()]+?)(?:, \(.*\))?\)=\((.*)\)/s.exec(detail) ?? [];
  return { columns: columns === "" ? [] : columns.split(", "), value };
}

function takenMessage({ name, detail }: Found): string {
  const { columns, value } = keyOf(detail);
  const [only, ...more] = columns;
  if (only === undefined) return `There is such ${a(name)} already.`;
  if (more.length > 0) return `There is ${a(name)} with the same ${list(columns.map(camel), "and")} already.`;
  return showable.has(only)
    ? `There is ${a(name)} with the ${camel(only)} "${value}" already.`
    : `There is ${a(name)} with the same ${camel(only)} already.`;
}

/** Returns the table that a reference points to, and the reference's path; the path is null when a delete of the target failed. */
function referenceOf({ table, name, constraint, detail }: Found): { path: string | null; target: string } {
  for (const key of getTableConfig(table).foreignKeys) {
    const { columns, foreignTable } = key.reference();
    const target = getTableName(foreignTable);
    const column = columns[0]?.name ?? "";
    if (constraint !== `${name}_${column}_${target}_id_fkey`) continue;
    return { path: keyOf(detail).columns[0] === column ? camel(column) : null, target };
  }
  throw new Error(`the table ${name} has no foreign key ${constraint}`);
}

const dependentMessage = ({ name }: Found, target: string) =>
  `The ${words(target)} cannot be deleted: ${a(name)} still needs it.`;

const camel = (column: string) => column.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const words = (table: string) => table.replaceAll("_", " ");
const a = (table: string) => `${/^[aeiou]/.test(table) ? "an" : "a"} ${words(table)}`;
const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
const list = (items: readonly string[], last: "and" | "or") =>
  items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} ${last} ${items.at(-1)}`;
