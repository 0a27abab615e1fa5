import { sql } from "drizzle-orm";
import { bigint, boolean, check, index, inet, integer, text, unique } from "drizzle-orm/pg-core";
import { attune, base, dotted, instant, jsonObjectColumn, reference, versioned } from "../schema.ts";
import { pack } from "./pack.ts";
import { sensor } from "./sensor.ts";

/** A kind of event: the schemas of a rule's configuration (`param_schema`) and of its events' payloads (`out_schema`). */
export const trigger = attune.table(
  "trigger",
  {
    ...versioned(),
    ref: text().notNull().unique(),
    packId: reference("pack").references(() => pack.id, { onDelete: "cascade" }),
    packRef: text(),
    label: text().notNull(),
    description: text(),
    enabled: boolean().notNull().default(true),
    isAdhoc: boolean().notNull().default(false),
    paramSchema: jsonObjectColumn(),
    outSchema: jsonObjectColumn(),
    sensorId: reference("sensor").references(() => sensor.id, { onDelete: "set null" }),
    sensorRef: text(),
    webhookEnabled: boolean().notNull().default(false),
    webhookKey: text().unique(),
    webhookConfig: jsonObjectColumn().notNull().default({}),
    /** Encrypted. */
    webhookSecret: text(),
    /** The path and the secret before the last rotation, which are valid until then. The secret is encrypted. */
    webhookPreviousKey: text().unique(),
    webhookPreviousKeyUntil: instant(),
    webhookPreviousSecret: text(),
    webhookPreviousSecretUntil: instant(),
    /** Encrypted: what a sender must know to have its challenge returned. */
    webhookVerifyToken: text(),
    rulesRevision: bigint({ mode: "bigint" }).notNull().default(sql`0`),
  },
  (t) => [
    check("trigger_ref_check", dotted(t.ref)),
    index("trigger_pack_idx").on(t.packId),
    index("trigger_label_idx").on(t.label, t.id),
    index("trigger_created_idx").on(t.created, t.id),
    index("trigger_updated_idx").on(t.updated, t.id),
    index("trigger_sensor_idx").on(t.sensorId).where(sql`${t.sensorId} is not null`),
  ],
);

/** Requests to webhooks: every accepted one, and refused ones with the reason, up to a limit in each hour. */
export const webhookDelivery = attune.table(
  "webhook_delivery",
  {
    ...base(),
    triggerId: reference("trigger")
      .notNull()
      .references(() => trigger.id, { onDelete: "cascade" }),
    eventId: reference("event"),
    sourceIp: inet(),
    headers: jsonObjectColumn().notNull().default({}),
    statusCode: integer().notNull(),
    error: text(),
    durationMs: integer().notNull(),
    size: integer().notNull(),
    hmacVerified: boolean(),
    rateLimited: boolean().notNull().default(false),
    deliveryId: text(),
  },
  (t) => [
    unique("webhook_delivery_trigger_delivery_id_key").on(t.triggerId, t.deliveryId),
    index("webhook_delivery_event_idx").on(t.eventId).where(sql`${t.eventId} is not null`),
    // What retention removes first: a signed delivery's id stays for longer, because it is what shows a repetition.
    index("webhook_delivery_created_idx")
      .on(t.created)
      .where(sql`${t.hmacVerified} is not true or ${t.deliveryId} is null`),
    index("webhook_delivery_trigger_created_idx").on(t.triggerId, t.created, t.id),
    index("webhook_delivery_refused_idx").on(t.triggerId, t.created).where(sql`${t.error} is not null`),
  ],
);
