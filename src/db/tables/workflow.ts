import { check, index, text } from "drizzle-orm/pg-core";
import { attune, dotted, jsonObjectColumn, reference, textList, versioned } from "../schema.ts";
import { pack } from "./pack.ts";

/** A graph of tasks; an action that names it runs it. */
export const workflowDefinition = attune.table(
  "workflow_definition",
  {
    ...versioned(),
    ref: text().notNull().unique(),
    packId: reference("pack")
      .notNull()
      .references(() => pack.id, { onDelete: "cascade" }),
    packRef: text().notNull(),
    label: text().notNull(),
    description: text(),
    version: text().notNull(),
    definition: jsonObjectColumn().notNull(),
    paramSchema: jsonObjectColumn(),
    outSchema: jsonObjectColumn(),
    tags: textList(),
  },
  (t) => [
    check("workflow_definition_ref_check", dotted(t.ref)),
    index("workflow_definition_pack_idx").on(t.packId),
    index("workflow_definition_label_idx").on(t.label, t.id),
    index("workflow_definition_created_idx").on(t.created, t.id),
    index("workflow_definition_updated_idx").on(t.updated, t.id),
  ],
);
