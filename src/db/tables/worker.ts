import { sql } from "drizzle-orm";
import { boolean, check, index, integer, text } from "drizzle-orm/pg-core";
import { attune, instant, jsonObjectColumn, reference, versioned, workerStatus, workerType } from "../schema.ts";
import { runtime } from "./runtime.ts";

/** A process that claims and runs executions; it counts as lost when its heartbeat stops. */
export const worker = attune.table(
  "worker",
  {
    ...versioned(),
    name: text().notNull(),
    workerType: workerType().notNull(),
    runtimeId: reference("runtime").references(() => runtime.id, { onDelete: "set null" }),
    host: text(),
    port: integer(),
    status: workerStatus().default("inactive"),
    capabilities: jsonObjectColumn(),
    meta: jsonObjectColumn(),
    lastHeartbeat: instant(),
    cordoned: boolean().notNull().default(false),
    /** When a cordoned worker hands back what it still runs; null: it may finish. */
    drainsAt: instant(),
  },
  (t) => [
    check("worker_port_check", sql`${t.port} between 1 and 65535`),
    check("worker_drains_at_check", sql`${t.drainsAt} is null or ${t.cordoned}`),
    index("worker_name_idx").on(t.name, t.id),
    index("worker_runtime_idx").on(t.runtimeId).where(sql`${t.runtimeId} is not null`),
    index("worker_status_idx").on(t.status),
    index("worker_created_idx").on(t.created, t.id),
  ],
);
