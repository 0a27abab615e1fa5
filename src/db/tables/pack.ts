import { sql } from "drizzle-orm";
import { type AnyPgColumn, bigint, boolean, check, index, jsonb, text, unique } from "drizzle-orm/pg-core";
import { attune, base, instant, jsonObjectColumn, reference, sealedSettings, textList, versioned } from "../schema.ts";
import { identity } from "./identity.ts";

/** A bundle of triggers, actions, rules and other components, loaded from files or created by hand. */
export const pack = attune.table(
  "pack",
  {
    ...versioned(),
    ref: text().notNull().unique(),
    label: text().notNull(),
    description: text(),
    version: text().notNull(),
    confSchema: jsonObjectColumn().notNull().default({}),
    config: jsonObjectColumn().notNull().default({}),
    secrets: sealedSettings(),
    meta: jsonObjectColumn().notNull().default({}),
    tags: textList(),
    runtimeDeps: textList(),
    dependencies: textList(),
    isStandard: boolean().notNull().default(false),
    sourceType: text(),
    sourceUrl: text(),
    sourceRef: text(),
    checksum: text(),
    installedAt: instant(),
    installedById: reference("installed_by").references((): AnyPgColumn => identity.id, { onDelete: "set null" }),
    storagePath: text(),
    activeReleaseId: reference("active_release").references((): AnyPgColumn => packRelease.id, {
      onDelete: "set null",
    }),
  },
  (t) => [
    check("pack_ref_check", sql`${t.ref} ~ '^[a-z][a-z0-9_-]+$'`),
    index("pack_installed_by_idx").on(t.installedById).where(sql`${t.installedById} is not null`),
    index("pack_active_release_idx").on(t.activeReleaseId).where(sql`${t.activeReleaseId} is not null`),
    index("pack_config_idx").using("gin", t.config),
    index("pack_meta_idx").using("gin", t.meta),
    index("pack_tags_idx").using("gin", t.tags),
    index("pack_label_idx").on(t.label, t.id),
    index("pack_created_idx").on(t.created, t.id),
    index("pack_updated_idx").on(t.updated, t.id),
  ],
);

/** One immutable version of a pack's files; a running execution keeps the release with which it started. */
export const packRelease = attune.table(
  "pack_release",
  {
    ...base(),
    packId: reference("pack")
      .notNull()
      .references(() => pack.id, { onDelete: "cascade" }),
    version: text().notNull(),
    digest: text().notNull(),
    manifest: jsonObjectColumn().notNull(),
    path: text().notNull(),
    size: bigint({ mode: "bigint" }).notNull(),
    /** The checksum of the files that define the environment, by the ref of the runtime that needs one. */
    environments: jsonb().$type<Readonly<Record<string, string>>>().notNull().default({}),
  },
  (t) => [unique("pack_release_pack_digest_key").on(t.packId, t.digest)],
);
