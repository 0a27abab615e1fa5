import { sql } from "drizzle-orm";
import { type AnyPgColumn, check, index, text } from "drizzle-orm/pg-core";
import { attune, base, instant, reference } from "../schema.ts";
import { execution } from "./execution.ts";
import { identity } from "./identity.ts";
import { sensor } from "./sensor.ts";

/** A credential: only the sha-256 of its value, which has 32 random bytes, is stored. */
export const token = attune.table(
  "token",
  {
    ...base(),
    kind: text({ enum: ["signin", "session", "api", "execution", "sensor"] }).notNull(),
    tokenHash: text().notNull().unique(),
    identityId: reference("identity").references(() => identity.id, { onDelete: "cascade" }),
    executionId: reference("execution").references((): AnyPgColumn => execution.id, { onDelete: "cascade" }),
    sensorId: reference("sensor").references((): AnyPgColumn => sensor.id, { onDelete: "cascade" }),
    label: text(),
    prefix: text(),
    permissionSetRefs: text().array(),
    expiresAt: instant(),
    lastUsedAt: instant(),
    revokedAt: instant(),
    revokedById: reference("revoked_by").references(() => identity.id, { onDelete: "set null" }),
  },
  (t) => [
    check("token_kind_check", sql`${t.kind} in ('signin', 'session', 'api', 'execution', 'sensor')`),
    index("token_identity_idx").on(t.identityId),
    index("token_created_idx").on(t.created, t.id).where(sql`${t.kind} = 'api'`),
    index("token_owner_idx").on(t.identityId, t.created, t.id).where(sql`${t.kind} = 'api'`),
    index("token_execution_idx").on(t.executionId).where(sql`${t.executionId} is not null`),
    index("token_sensor_idx").on(t.sensorId).where(sql`${t.sensorId} is not null`),
    index("token_ended_idx").on(sql`coalesce(${t.revokedAt}, ${t.expiresAt})`).where(sql`${t.kind} <> 'api'`),
    index("token_revoked_by_idx").on(t.revokedById).where(sql`${t.revokedById} is not null`),
  ],
);
