import { at, type Row } from "./sample.ts";

const badRefs = ["nodot", "two.dots.here", "Upper.case", ".name", "pack.", ""].map((ref) => ({ ref }));
const badRoles = ["Upper", "1st", "", "has space", "a".repeat(64)].map((role) => ({ role }));
const notPositive = (column: string) => [{ [column]: 0 }, { [column]: -1 }];
const noOwner = { owner_pack: null };
const noWorker = { worker: null };

/** For each check, the values that violate only that check in a full row. */
export const violating: Readonly<Record<string, readonly Row[]>> = {
  action_on_worker_loss_check: [{ on_worker_loss: "retry" }],
  action_output_format_check: [{ output_format: "xml" }],
  action_parameter_delivery_check: [{ parameter_delivery: "argv" }],
  action_parameter_format_check: [{ parameter_format: "toml" }],
  action_ref_check: badRefs,
  action_timeout_seconds_check: notPositive("timeout_seconds"),
  artifact_retention_limit_check: notPositive("retention_limit"),
  artifact_version_content_check: [{ content: null }, { storage_key: "elsewhere" }],
  artifact_version_sha256_check: [{ sha256: "A".repeat(64) }, { sha256: "a".repeat(63) }, { sha256: "" }],
  artifact_version_size_check: [{ size: -1 }],
  artifact_version_version_check: notPositive("version"),
  execution_attempt_check: [{ attempt: -1 }],
  execution_finished_at_check: [{ finished_at: "2026-01-01T00:00:00Z" }, { status: "failed" }],
  execution_on_worker_loss_check: [{ on_worker_loss: "retry" }],
  event_trace_context_check: [{ trace_context: "00-4BF9" }],
  execution_trace_context_check: [{ trace_context: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03" }],
  execution_timeout_seconds_check: notPositive("timeout_seconds"),
  execution_waiting_check: [
    { waits_for: "slot" },
    { ...noWorker, waits_for: "slot", status: "scheduled" },
    { ...noWorker, waits_for: "slot", status: "failed", finished_at: "2026-01-01T00:00:00Z" },
  ],
  execution_waits_for_check: [{ ...noWorker, waits_for: "luck" }],
  execution_worker_check: [{ ...noWorker, status: "scheduled" }],
  identity_role_role_check: badRoles,
  inquiry_responded_at_check: [{ responded_at: null }, { status: "pending" }],
  key_encryption_check: [{ encryption_key_hash: null }, { encrypted: false }],
  key_name_check: ["Upper", "-first", "", "has.dot", "a".repeat(64)].map((name) => ({ name })),
  notification_retention_singleton_check: [{ singleton: 2 }],
  pack_ref_check: ["a", "1st", "Upper", "has.dot", "", "-a"].map((ref) => ({ ref })),
  permission_set_ref_check: badRefs,
  permission_set_role_role_check: badRoles,
  pack_environment_claim_expires_at_check: [{ claim_expires_at: null }, { status: "ready" }],
  pack_test_execution_duration_ms_check: [{ duration_ms: -1 }],
  pack_test_execution_failed_check: [{ failed: -1 }],
  pack_test_execution_pass_rate_check: [{ pass_rate: -0.1 }, { pass_rate: 1.1 }, { pass_rate: "NaN" }],
  pack_test_execution_passed_check: [{ passed: -1 }],
  pack_test_execution_skipped_check: [{ skipped: -1 }],
  pack_test_execution_total_tests_check: [{ total_tests: -1 }],
  pack_test_execution_trigger_reason_check: [{ trigger_reason: "whim" }],
  policy_group_active_check: [{ active: -1 }],
  policy_group_waiting_check: [{ waiting: -1 }],
  policy_limit_check: [{ method: null, threshold: null, rate_max: null, rate_window_seconds: null }],
  policy_method_check: [{ method: null }, { threshold: null }],
  policy_rate_check: [{ rate_max: null }, { rate_window_seconds: null }],
  policy_rate_max_check: notPositive("rate_max"),
  policy_rate_window_seconds_check: notPositive("rate_window_seconds"),
  policy_ref_check: badRefs,
  policy_slot_acquired_at_check: [{ acquired_at: null }, { state: "waiting" }],
  policy_slot_state_check: [{ state: "lost" }],
  policy_threshold_check: notPositive("threshold"),
  presence_seen_until_check: [{ seen_until: "2026-01-01T00:00:00Z" }],
  rule_budget_starts_check: [{ starts: -1 }],
  rule_budget_tripped_at_check: [{ tripped_at: null }, { resets_at: null }],
  rule_evaluation_held_check: [{ held: "whim" }],
  rule_evaluation_pending_check: [{ held: null }, { key_hash: null }],
  rule_record_evaluations_check: [{ record_evaluations: "some" }],
  rule_ref_check: badRefs,
  rule_window_count_check: [{ count: -1 }],
  rule_window_kind_check: [{ kind: "whim" }],
  runtime_ref_check: [
    "sample.runtime",
    "sample.other.name",
    "a.action.b.c",
    "A.action.b",
    "a.action.",
    ".sensor.b",
  ].map((ref) => ({ ref })),
  runtime_runtime_type_check: [{ runtime_type: "sensor" }],
  sensor_process_lease_expires_at_check: [{ lease_expires_at: at }, { status: "running", next_start_at: null }],
  sensor_process_next_start_at_check: [{ status: "stopped" }],
  sensor_ref_check: badRefs,
  token_kind_check: [{ kind: "refresh" }],
  trigger_ref_check: badRefs,
  worker_drains_at_check: [{ cordoned: false, drains_at: "2026-02-03T04:05:06.789Z" }],
  worker_port_check: [{ port: 0 }, { port: 65_536 }, { port: -1 }],
  workflow_definition_ref_check: badRefs,
  key_owner_check: [
    { owner_type: "system" },
    { owner_type: "identity", ...noOwner },
    { owner_type: "action", ...noOwner },
    { owner_type: "sensor", ...noOwner },
    noOwner,
    { owner_type: "action" },
  ],
};

/** For checks that an insert cannot violate first: the values to update an inserted row with. */
export const violatingChange: Readonly<Record<string, Row>> = {
  execution_worker_check: { status: "running" },
};

/** For constraints that cannot be violated because another is checked first: that other constraint. */
export const instead: Readonly<Record<string, string>> = {
  "key.owner_type": "key_owner_check",
  key_owner_identity_identity_id_fkey: "key_owner_check",
  key_owner_pack_pack_id_fkey: "key_owner_check",
  key_owner_action_action_id_fkey: "key_owner_check",
  key_owner_sensor_sensor_id_fkey: "key_owner_check",
};

/** Columns that a trigger always sets, so that null is not refused. */
export const filledIn: ReadonlySet<string> = new Set(["key.ref", "key.owner"]);

/** For fields that are required because a column is computed from them: the column that the refusal names. */
export const foundBy: Readonly<Record<string, string>> = { "key.name": "key.ref" };

/** Unique constraints equivalent to another, which the database checks first. */
export const shadowed: Readonly<Record<string, string>> = { key_owner_name_key: "key_ref_key" };

/** For unique columns that the database computes: the columns that they are computed from. */
export const composed: Readonly<Record<string, readonly string[]>> = { key_ref_key: ["name"] };

/** Further values that a full row needs to have the reference. */
export const referring: Readonly<Record<string, Row>> = {
  "key.owner_identity": { owner_type: "identity", ...noOwner },
  "key.owner_action": { owner_type: "action", ...noOwner },
  "key.owner_sensor": { owner_type: "sensor", ...noOwner },
};

const leased = { lease_expires_at: at };
const withoutResponse = { responded_at: null };
const ended = { finished_at: "2026-02-03T04:05:06.789Z" };

/** Further values that a full row needs to have a value in a column: `table.column=value`. */
export const having: Readonly<Record<string, Row>> = {
  "pack_environment.status=pending": { claim_expires_at: null },
  "pack_environment.status=ready": { claim_expires_at: null },
  "pack_environment.status=failed": { claim_expires_at: null },
  "pack_environment.status=outdated": { claim_expires_at: null },
  ...Object.fromEntries(
    ["starting", "running", "stopping"].map((status) => [
      `sensor_process.status=${status}`,
      { ...leased, next_start_at: null },
    ]),
  ),
  "sensor_process.status=stopped": { next_start_at: null },
  "policy_slot.state=waiting": { acquired_at: null },
  "inquiry.status=pending": withoutResponse,
  "inquiry.status=timeout": withoutResponse,
  "inquiry.status=cancelled": withoutResponse,
  "runtime.runtime_type=sensor": { ref: "sample.sensor.runtime" },
  "key.owner_type=system": noOwner,
  "key.owner_type=identity": { ...noOwner, owner_identity: "{identity id}" },
  "key.owner_type=action": { ...noOwner, owner_action: "{action id}" },
  "key.owner_type=sensor": { ...noOwner, owner_sensor: "{sensor id}" },
  "execution.waits_for=inquiry": noWorker,
  "execution.waits_for=tasks": noWorker,
  "execution.waits_for=slot": noWorker,
  "execution.waits_for=time": noWorker,
  "execution.waits_for=retry": noWorker,
  "execution.status=completed": ended,
  "execution.status=failed": ended,
  "execution.status=cancelled": ended,
  "execution.status=timeout": ended,
  "execution.status=abandoned": ended,
};

/** Values that no row is inserted with: the values that it has before, in order. */
export const reachedBy: Readonly<Record<string, readonly string[]>> = {
  "execution.status=running": ["scheduled"],
  "execution.status=canceling": ["scheduled", "running"],
  "execution.status=completed": ["scheduled", "running"],
  "execution.status=timeout": ["scheduled", "running"],
  "execution.status=abandoned": ["scheduled", "running"],
};

/** For each constraint that triggers enforce: the row to insert, and statements that violate it. */
export const guarded: Readonly<Record<string, { table: string; row: Row; tries: readonly string[] }>> = {
  audit_event_append_only: {
    table: "audit_event",
    row: {},
    tries: [
      "update attune.audit_event set category = 'x' where id = {id}",
      "update attune.audit_event set actor = null where id = {id}",
      "delete from attune.audit_event where id = {id}",
      "truncate attune.audit_event",
    ],
  },
  execution_move: {
    table: "execution",
    row: {},
    tries: [
      "update attune.execution set status = 'running' where id = {id}",
      "insert into attune.execution (action_ref, on_worker_loss, trace_tag, status) values ('a.b', 'abandon', 't', 'running')",
    ],
  },
  execution_terminal: {
    table: "execution",
    row: { status: "failed", finished_at: "2026-01-01T00:00:00Z" },
    tries: [
      "update attune.execution set result = '1' where id = {id}",
      "update attune.execution set worker = worker + 1 where id = {id}",
    ],
  },
};
