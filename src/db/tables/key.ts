import { sql } from "drizzle-orm";
import { boolean, check, index, text, unique } from "drizzle-orm/pg-core";
import { attune, ownerType, reference, versioned } from "../schema.ts";
import { action } from "./action.ts";
import { identity } from "./identity.ts";
import { pack } from "./pack.ts";
import { sensor } from "./sensor.ts";

/** A piece of configuration or a secret; secrets are AES-256-GCM envelopes. */
export const key = attune.table(
  "key",
  {
    ...versioned(),
    ref: text().notNull().unique(),
    ownerType: ownerType().notNull(),
    owner: text().notNull(),
    ownerIdentityId: reference("owner_identity").references(() => identity.id, { onDelete: "restrict" }),
    ownerPackId: reference("owner_pack").references(() => pack.id, { onDelete: "restrict" }),
    ownerActionId: reference("owner_action").references(() => action.id, { onDelete: "cascade" }),
    ownerSensorId: reference("owner_sensor").references(() => sensor.id, { onDelete: "cascade" }),
    name: text().notNull(),
    encrypted: boolean().notNull(),
    encryptionKeyHash: text(),
    value: text().notNull(),
  },
  (t) => [
    check("key_name_check", sql`${t.name} ~ '^[a-z0-9][a-z0-9_-]{0,62}$'`),
    check("key_encryption_check", sql`${t.encrypted} = (${t.encryptionKeyHash} is not null)`),
    check(
      "key_owner_check",
      sql`(${t.ownerIdentityId} is not null) = (${t.ownerType} = 'identity') and (${t.ownerPackId} is not null) = (${t.ownerType} = 'pack') and (${t.ownerActionId} is not null) = (${t.ownerType} = 'action') and (${t.ownerSensorId} is not null) = (${t.ownerType} = 'sensor')`,
    ),
    unique("key_owner_name_key").on(t.ownerType, t.owner, t.name),
    index("key_name_idx").on(t.name, t.id),
    index("key_created_idx").on(t.created, t.id),
    index("key_updated_idx").on(t.updated, t.id),
    index("key_owner_identity_idx").on(t.ownerIdentityId).where(sql`${t.ownerIdentityId} is not null`),
    index("key_owner_pack_idx").on(t.ownerPackId).where(sql`${t.ownerPackId} is not null`),
    index("key_owner_action_idx").on(t.ownerActionId).where(sql`${t.ownerActionId} is not null`),
    index("key_owner_sensor_idx").on(t.ownerSensorId).where(sql`${t.ownerSensorId} is not null`),
  ],
);
