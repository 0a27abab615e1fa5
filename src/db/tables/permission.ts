import { sql } from "drizzle-orm";
import { boolean, check, index, jsonb, text, unique } from "drizzle-orm/pg-core";
import type { Json } from "../../lib/json.ts";
import { attune, base, dotted, reference, versioned } from "../schema.ts";
import { identity } from "./identity.ts";
import { pack } from "./pack.ts";

/** A named list of grants. */
export const permissionSet = attune.table(
  "permission_set",
  {
    ...versioned(),
    ref: text().notNull().unique(),
    packId: reference("pack").references(() => pack.id, { onDelete: "cascade" }),
    packRef: text(),
    label: text(),
    description: text(),
    isAdhoc: boolean().notNull().default(false),
    grants: jsonb().$type<Json[]>().notNull().default([]),
  },
  (t) => [
    check("permission_set_ref_check", dotted(t.ref)),
    index("permission_set_pack_idx").on(t.packId),
    index("permission_set_created_idx").on(t.created, t.id),
    index("permission_set_updated_idx").on(t.updated, t.id),
  ],
);

/** The roles of an identity; a role has permission sets, and inquiries can be assigned to it. */
export const identityRole = attune.table(
  "identity_role",
  {
    ...base(),
    identityId: reference("identity")
      .notNull()
      .references(() => identity.id, { onDelete: "cascade" }),
    role: text().notNull(),
  },
  (t) => [
    check("identity_role_role_check", sql`${t.role} ~ '^[a-z][a-z0-9_-]{0,62}$'`),
    unique("identity_role_identity_role_key").on(t.identityId, t.role),
    index("identity_role_role_idx").on(t.role),
  ],
);

/** The permission sets of a role. */
export const permissionSetRole = attune.table(
  "permission_set_role",
  {
    ...base(),
    permissionSetId: reference("permission_set")
      .notNull()
      .references(() => permissionSet.id, { onDelete: "cascade" }),
    role: text().notNull(),
  },
  (t) => [
    check("permission_set_role_role_check", sql`${t.role} ~ '^[a-z][a-z0-9_-]{0,62}$'`),
    unique("permission_set_role_permission_set_role_key").on(t.permissionSetId, t.role),
    index("permission_set_role_role_idx").on(t.role),
  ],
);

/** The permission sets of an identity. */
export const permissionAssignment = attune.table(
  "permission_assignment",
  {
    ...base(),
    identityId: reference("identity")
      .notNull()
      .references(() => identity.id, { onDelete: "cascade" }),
    permissionSetId: reference("permission_set")
      .notNull()
      .references(() => permissionSet.id, { onDelete: "cascade" }),
  },
  (t) => [
    unique("permission_assignment_identity_permission_set_key").on(t.identityId, t.permissionSetId),
    index("permission_assignment_permission_set_idx").on(t.permissionSetId, t.created, t.id),
  ],
);
