import { sql } from "drizzle-orm";
import { check, index, text } from "drizzle-orm/pg-core";
import { attune, jsonObjectColumn, reference, runtimeType, versioned } from "../schema.ts";
import { pack } from "./pack.ts";

/** An interpreter in which actions or sensors run: how to find it and how to build an environment for it. */
export const runtime = attune.table(
  "runtime",
  {
    ...versioned(),
    ref: text().notNull().unique(),
    packId: reference("pack").references(() => pack.id, { onDelete: "cascade" }),
    packRef: text(),
    description: text(),
    runtimeType: runtimeType().notNull(),
    name: text().notNull(),
    distributions: jsonObjectColumn().notNull(),
    installation: jsonObjectColumn(),
  },
  (t) => [
    check("runtime_ref_check", sql`${t.ref} = lower(${t.ref}) and ${t.ref} ~ '^[^.]+\\.(action|sensor)\\.[^.]+$'`),
    check("runtime_runtime_type_check", sql`split_part(${t.ref}, '.', 2) = ${t.runtimeType}::text`),
    index("runtime_pack_idx").on(t.packId),
    index("runtime_name_idx").on(t.name, t.id),
    index("runtime_created_idx").on(t.created, t.id),
    index("runtime_updated_idx").on(t.updated, t.id),
  ],
);
