import { sql } from "drizzle-orm";
import { bigint, check, index, integer, jsonb, text, unique } from "drizzle-orm/pg-core";
import type { ProcessIdentity } from "../../lib/process-identity.ts";
import { attune, base, instant, logStream, reference, sensorProcessStatus, versioned } from "../schema.ts";
import { event } from "./event.ts";
import { sensor } from "./sensor.ts";

/** The one process of a sensor: a lease that `generation` fences, and how the process fares. A sensor that has never run has none. */
export const sensorProcess = attune.table(
  "sensor_process",
  {
    ...versioned(),
    sensorId: reference("sensor")
      .notNull()
      .unique()
      .references(() => sensor.id, { onDelete: "cascade" }),
    status: sensorProcessStatus().notNull().default("stopped"),
    /** When it got its status. */
    since: instant().notNull().defaultNow(),
    pid: integer(),
    host: text(),
    /** How often it was started again after it had ended by itself. */
    restarts: integer().notNull().default(0),
    /** How often it has ended by itself without running well in between. */
    failures: integer().notNull().default(0),
    lastError: text(),
    lastErrorAt: instant(),
    nextStartAt: instant(),
    lastEventAt: instant(),
    /** What it was last started with: other contents are started without a delay. */
    fingerprint: text(),
    generation: bigint({ mode: "bigint" }).notNull().default(sql`0`),
    /** The process of the server that runs it. */
    leaseOwner: jsonb().$type<ProcessIdentity>(),
    leaseExpiresAt: instant(),
    /** Processes of the server that ran it before: what they may have left is ended before the next start. */
    former: jsonb().$type<ProcessIdentity[]>().notNull().default([]),
  },
  (t) => [
    check(
      "sensor_process_lease_expires_at_check",
      sql`(${t.leaseExpiresAt} is not null) = (${t.status} in ('starting', 'running', 'stopping'))`,
    ),
    check("sensor_process_next_start_at_check", sql`${t.nextStartAt} is null or ${t.status} = 'waiting'`),
  ],
);

/** A piece of what a sensor's processes wrote to stderr, or of what the server reports about them. */
export const sensorLog = attune.table(
  "sensor_log",
  {
    ...base(),
    sensorId: reference("sensor")
      .notNull()
      .references(() => sensor.id, { onDelete: "cascade" }),
    seq: bigint({ mode: "bigint" }).notNull(),
    stream: logStream().notNull(),
    at: instant().notNull(),
    text: text().notNull(),
  },
  (t) => [unique("sensor_log_sensor_seq_key").on(t.sensorId, t.seq)],
);

/** The names that a sensor gave to its events: a second event with the same name is not stored. */
export const sensorEventKey = attune.table(
  "sensor_event_key",
  {
    ...base(),
    sensorId: reference("sensor")
      .notNull()
      .references(() => sensor.id, { onDelete: "cascade" }),
    name: text().notNull(),
    eventId: reference("event").references(() => event.id, { onDelete: "cascade" }),
  },
  (t) => [
    unique("sensor_event_key_sensor_name_key").on(t.sensorId, t.name),
    index("sensor_event_key_event_idx").on(t.eventId),
  ],
);
