import type { PgColumn } from "drizzle-orm/pg-core";
import { findLists, tableOf } from "../plans/cases.ts";

/** The number of rows of each table that a list reads. */
export const size = 40;
/** The number of rows that others refer to. */
export const parents = 4;

const read = new Set(findLists().map(({ typename }) => tableOf(typename).name));
export const sizeOf = (table: string) => (read.has(table) ? size : 0);

/** A number of row `n` that has nothing to do with that of another column. */
const random = (table: string, key: string) => `('x' || substr(md5('${table}.${key}.' || n), 1, 7))::bit(28)::int`;

/** Columns with a unique constraint of several columns, and those that a list reads by a fixed condition. */
const special: Readonly<Record<string, string>> = {
  "rule_evaluation.event": `1 + n % ${parents}`,
  "rule_evaluation.rule": `1 + n / ${parents} % ${size}`,
  "rule_revision.number": "n",
  "rule_window.key_hash": "n::text",
  "rule_window.kind": "'once'",
  "rule_window.count": "0",
  "execution_transition.execution": `1 + n % ${parents}`,
  "execution_log.seq": "n",
  "artifact_version.version": "n",
  "permission_assignment.permission_set": `1 + n / ${parents}`,
  "permission_assignment.identity": `1 + n % ${parents}`,
  "enforcement.event": "case when n % 5 > 0 then n * 7 % 41 end",
  "execution.enforcement": "case when n % 5 > 0 then n * 3 % 41 end",
  "token.kind": "'api'",
  "webhook_delivery.delivery_id": "case when n % 5 > 0 then 'Delivery' || n * 7 % 40 end",
  "pack_environment.manifest_checksum": "n::text",
  "pack_test_execution.execution": "n",
  "pack_test_execution.pack_version": "'1.0.0'",
  "pack_test_execution.pass_rate": "0.5",
  "policy_group.key": "'Text' || n * 7 % 40",
  "policy_slot.execution": "n",
  "policy_slot.state": "(array['active', 'waiting', 'released'])[1 + n % 3]",
  "policy_slot.acquired_at": "case when n % 3 <> 1 then timestamptz '2026-01-01' end",
  "key.name": "'Name' || n * 7 % 40",
};

/** Returns SQL for a value of which another column of the same type has the same in few rows. Columns that can be null are in a fifth of them. */
export function cellOf(table: string, key: string, column: PgColumn): string | null {
  const known = special[`${table}.${column.name}`];
  if (known) return known;
  if (key === "id") return "n";
  const number = random(table, key);
  const value = typedValue(table, key, column);
  if (value === null) return null;
  return column.notNull || column.primary ? value : `case when ${number} / 64 % 5 > 0 then ${value} end`;
}

function typedValue(table: string, key: string, column: PgColumn): string | null {
  const number = random(table, key);
  const type = column.getSQLType();
  if (column.dimensions > 0) return `array['Word' || ${number} % 4]`;
  if (column.enumValues?.length) {
    const values = column.enumValues.map((value) => `'${value}'`).join(", ");
    return `(array[${values}])[1 + ${number} % ${column.enumValues.length}]::${/^(text|varchar)/.test(type) ? "text" : `attune.${type.replace("attune.", "")}`}`;
  }
  if (type === "text" && (column.isUnique || key === "ref"))
    return `'Pack' || ${number} % 4 || '.' || ${number} || 'n' || n`;
  if (type === "text")
    return key.endsWith("Ref") ? `'Pack' || ${number} % 4 || '.x' || n % 2` : `'Text' || ${number} % 5`;
  if (type === "bigint") return key.endsWith("Id") ? `1 + ${number} % ${parents}` : `${number} % 5`;
  if (type === "integer") return `${number} % 5`;
  if (type === "boolean") return `${number} % 2 = 0`;
  if (type.startsWith("timestamp")) return `timestamptz '2026-01-01' + make_interval(days => ${number} % 6)`;
  if (type === "inet") return `('10.0.0.' || ${number} % 4)::inet`;
  return !column.notNull || column.hasDefault ? null : type === "jsonb" ? "'{}'" : null;
}
