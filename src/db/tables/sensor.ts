import { boolean, check, index, text } from "drizzle-orm/pg-core";
import { attune, dotted, jsonObjectColumn, reference, sealedSettings, versioned } from "../schema.ts";
import { pack } from "./pack.ts";
import { runtime } from "./runtime.ts";

/** A long-running program that watches something and emits events of its triggers. */
export const sensor = attune.table(
  "sensor",
  {
    ...versioned(),
    ref: text().notNull().unique(),
    packId: reference("pack").references(() => pack.id, { onDelete: "cascade" }),
    packRef: text(),
    label: text().notNull(),
    description: text(),
    entrypoint: text().notNull(),
    runtimeId: reference("runtime")
      .notNull()
      .references(() => runtime.id, { onDelete: "cascade" }),
    runtimeRef: text().notNull(),
    enabled: boolean().notNull().default(true),
    isAdhoc: boolean().notNull().default(false),
    paramSchema: jsonObjectColumn(),
    config: jsonObjectColumn(),
    secrets: sealedSettings(),
  },
  (t) => [
    check("sensor_ref_check", dotted(t.ref)),
    index("sensor_pack_idx").on(t.packId),
    index("sensor_label_idx").on(t.label, t.id),
    index("sensor_created_idx").on(t.created, t.id),
    index("sensor_updated_idx").on(t.updated, t.id),
    index("sensor_runtime_idx").on(t.runtimeId),
  ],
);
