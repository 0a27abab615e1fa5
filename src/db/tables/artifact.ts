import { sql } from "drizzle-orm";
import { bigint, check, customType, index, integer, jsonb, text, unique } from "drizzle-orm/pg-core";
import type { Json } from "../../lib/json.ts";
import {
  artifactRetention,
  artifactType,
  attune,
  base,
  ownerType,
  reference,
  versioned,
  visibility,
} from "../schema.ts";
import { execution } from "./execution.ts";

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => "bytea" });

/** A named result of actions or users: a file with versions, a table, a link or a progress. */
export const artifact = attune.table(
  "artifact",
  {
    ...versioned(),
    ref: text().notNull(),
    scope: ownerType().notNull().default("system"),
    owner: text().notNull().default(""),
    type: artifactType().notNull(),
    visibility: visibility().notNull().default("private"),
    name: text(),
    description: text(),
    contentType: text(),
    size: bigint({ mode: "bigint" }),
    data: jsonb().$type<Json>(),
    retention: artifactRetention().notNull().default("versions"),
    retentionLimit: integer().notNull().default(1),
  },
  (t) => [
    check("artifact_retention_limit_check", sql`${t.retentionLimit} > 0`),
    unique("artifact_scope_owner_ref_key").on(t.scope, t.owner, t.ref),
    index("artifact_created_idx").on(t.created, t.id),
    index("artifact_ref_idx").on(t.ref, t.id),
    index("artifact_scope_idx").on(t.scope, t.created, t.id),
    index("artifact_owner_idx").on(t.owner, t.created, t.id),
    index("artifact_type_idx").on(t.type, t.created, t.id),
    index("artifact_visibility_idx").on(t.visibility, t.created, t.id),
  ],
);

/** One content of an artifact; never changed. Its bytes are in the row, or in a file named by `storage_key`. */
export const artifactVersion = attune.table(
  "artifact_version",
  {
    ...base(),
    artifactId: reference("artifact")
      .notNull()
      .references(() => artifact.id, { onDelete: "cascade" }),
    version: integer().notNull(),
    executionId: reference("execution").references(() => execution.id, { onDelete: "set null" }),
    contentType: text(),
    size: bigint({ mode: "bigint" }).notNull(),
    sha256: text().notNull(),
    content: bytea(),
    storageKey: text(),
  },
  (t) => [
    check("artifact_version_version_check", sql`${t.version} > 0`),
    check("artifact_version_size_check", sql`${t.size} >= 0`),
    check("artifact_version_sha256_check", sql`${t.sha256} ~ '^[0-9a-f]{64}$'`),
    check("artifact_version_content_check", sql`(${t.content} is null) <> (${t.storageKey} is null)`),
    unique("artifact_version_artifact_version_key").on(t.artifactId, t.version),
    index("artifact_version_storage_key_idx").on(t.storageKey).where(sql`${t.storageKey} is not null`),
    index("artifact_version_created_idx").on(t.artifactId, t.created, t.id),
    index("artifact_version_execution_created_idx")
      .on(t.executionId, t.created, t.id)
      .where(sql`${t.executionId} is not null`),
    index("artifact_version_execution_idx").on(t.executionId, t.version, t.id).where(sql`${t.executionId} is not null`),
  ],
);
