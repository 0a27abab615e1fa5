import type { PgColumn } from "drizzle-orm/pg-core";
import type { Db } from "../../../src/db/client.ts";
import { onPostgres } from "../../support/database.ts";
import { fill } from "../../support/fill.ts";

/** The number of rows of each table: those that grow with every event, other records, and what users create. */
const sizes: Readonly<Record<string, number>> = {
  execution: 200_000,
  event: 200_000,
  enforcement: 200_000,
  execution_transition: 20_000,
  execution_log: 20_000,
  rule_evaluation: 20_000,
  rule_revision: 20_000,
  rule_window: 20_000,
  notification: 20_000,
  audit_event: 20_000,
  inquiry: 20_000,
  artifact: 20_000,
  artifact_version: 20_000,
};
const others = 2000;

/** Returns the number of rows of the table; 0 for one that no list reads. */
export function sizeOf(table: string): number {
  if (!generated.has(table)) return 0;
  const size = sizes[table] ?? others;
  // The embedded database takes 20 µs to store a row and three for each index entry: a quarter makes the same plans.
  return size === 200_000 && !onPostgres() ? size / 4 : size;
}

const generated = new Set([
  ...Object.keys(sizes),
  ...["pack", "runtime", "trigger", "sensor", "action", "rule", "policy", "workflow_definition", "worker", "key"],
  ...[
    "identity",
    "permission_set",
    "permission_assignment",
    "token",
    "policy_group",
    "policy_slot",
    "pack_test_execution",
  ],
]);

/** Only the oldest rows, fewer than a page, have the value `old`: a search for it from the newest row reads all others. */
const oldest = 20;

/** One of three values: of the oldest rows, of a third of all, or of those after them, so many to each of its numbers. */
const group = (size: number, [old, common, rest]: readonly [string, string, (number: string) => string]) =>
  `case when n <= ${oldest} then ${old} when n <= ${Math.floor(size / 3)} then ${common} else ${rest(`(n / ${size / 40})`)} end`;

/** The values increase in the order of the rows: building the indexes of sorted rows takes seconds less. */
const values = { ids: ["1", "2"], texts: ["a_old", "b_common"] } as const;

/** The values that tests search for: of the oldest rows, and of a third of all. */
export const samples = {
  packs: [...values.texts],
  refs: values.texts.map((text) => `${text}.x`),
  ids: values.ids.map(BigInt),
  oldRow: 10,
  commonRow: (size: number) => Math.floor(size / 60) * 10,
};

/** Values that do not follow from the column's type: unique together with other columns, or read by a fixed condition. */
const special: Readonly<Record<string, string>> = {
  "execution.enforcement": "n",
  "enforcement.event": "n",
  "execution_transition.execution": "1 + n / 5", // at most five for each of five attempts
  "rule_revision.number": "n",
  "rule_window.key_hash": "n::text",
  "rule_window.kind": "'once'",
  "rule_window.count": "0",
  "rule_evaluation.event": "1 + n / 5", // at most one of each rule
  "execution_log.seq": "n",
  "artifact_version.version": "n",
  "artifact.ref": "'r' || n",
  "key.name": "'n' || n",
  "permission_assignment.identity": "n",
  "token.kind": "case when n % 2 = 0 then 'api' else 'execution' end",
  "pack.ref": "'p' || n",
  "pack_environment.manifest_checksum": "n::text",
  "pack_test_execution.execution": "n",
  "pack_test_execution.skipped": "0",
  "pack_test_execution.pass_rate": "0.5",
  "pack_test_execution.pack_version": "'1.0.0'",
  "policy_group.key": "'k' || n",
  "policy_slot.execution": "n",
  "policy_slot.acquired_at": "case when n <= 20 or n > 666 then timestamptz '2026-01-01' end",
  "notification.xid": "pg_current_xact_id()",
};

/** Columns that no list is filtered by are omitted, to save time. */
const unread: ReadonlySet<string> = new Set([
  ...["reason", "workerName", "skipped", "storageKey"],
  ...["cancelRequestedById", "packReleaseId", "event.ruleId", "rule_evaluation.keyHash"],
]);
/** Columns that one row in ten has. */
const rare: ReadonlySet<string> = new Set([
  "parentId",
  "rootId",
  "retryOfId",
  "rerunOfId",
  "executorId",
  "causeExecutionId",
  "sourceId",
  "sourceRef",
]);

/** Returns SQL for the value of row `n`; null: the column keeps its default. */
function cellOf(table: string, size: number, key: string, column: PgColumn): string | null {
  const known = special[`${table}.${column.name}`];
  if (known) return known;
  if (key === "id") return "n";
  if (key === "created" || key === "at") return `timestamptz '2026-01-01' + make_interval(secs => n / 3)`; // three rows per second
  if (key === "updated") return `timestamptz '2026-01-01' + make_interval(secs => n * 7919 % ${size})`;
  if (key === "packRef") return "'p' || n / 20";
  if (key === "ref") return "'p' || n / 20 || '.x' || n";
  if (column.isUnique) return column.notNull ? "'u' || n" : null;
  if (column.enumValues?.length) {
    const type = /^(text|varchar)/.test(column.getSQLType())
      ? "text"
      : `attune.${column.getSQLType().replace("attune.", "")}`;
    const [old = "", common = old] = column.enumValues;
    const last = column.enumValues.at(-1) ?? common;
    return `(${group(size, [`'${old}'`, `'${common}'`, () => `'${last}'`])})::${type}`;
  }
  if (column.dimensions > 0 || unread.has(key) || unread.has(`${table}.${key}`)) return null;
  if (column.dataType.startsWith("bigint")) {
    return key.endsWith("Id") ? group(size, [values.ids[0], values.ids[1], (number) => `3 + ${number}`]) : "n";
  }
  if (column.getSQLType() === "text") {
    const end = key.endsWith("Ref") ? ".x" : "";
    return group(size, [
      `'${values.texts[0]}${end}'`,
      `'${values.texts[1]}${end}'`,
      (number) => `'c' || lpad(${number}::text, 2, '0') || '${end}'`,
    ]);
  }
  if (!column.notNull || column.hasDefault) return null;
  if (column.getSQLType() === "boolean") return "n % 3 = 0";
  return column.getSQLType() === "jsonb" ? "'{}'" : "1";
}

/** Fills every table that a list reads. Indexes are created afterwards. */
export async function fillTables(db: Db): Promise<void> {
  await fill(db, {
    size: sizeOf,
    cell: (table, key, column) => {
      const value = cellOf(table, sizeOf(table), key, column);
      return value !== null && rare.has(key) ? `case when n <= ${oldest} or n % 10 = 0 then ${value} end` : value;
    },
  });
}
