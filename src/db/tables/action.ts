import { sql } from "drizzle-orm";
import { boolean, check, index, integer, text } from "drizzle-orm/pg-core";
import { attune, dotted, jsonObjectColumn, reference, textList, versioned } from "../schema.ts";
import { pack } from "./pack.ts";
import { runtime } from "./runtime.ts";
import { workflowDefinition } from "./workflow.ts";

/** Something that can be run. */
export const action = attune.table(
  "action",
  {
    ...versioned(),
    ref: text().notNull().unique(),
    packId: reference("pack").references(() => pack.id, { onDelete: "cascade" }),
    packRef: text(),
    label: text().notNull(),
    description: text(),
    entrypoint: text().notNull(),
    runtimeId: reference("runtime").references(() => runtime.id, { onDelete: "restrict" }),
    enabled: boolean().notNull().default(true),
    isAdhoc: boolean().notNull().default(false),
    paramSchema: jsonObjectColumn(),
    outSchema: jsonObjectColumn(),
    parameterDelivery: text({ enum: ["stdin", "file"] })
      .notNull()
      .default("stdin"),
    parameterFormat: text({ enum: ["json", "yaml", "dotenv"] })
      .notNull()
      .default("json"),
    outputFormat: text({ enum: ["text", "json", "yaml", "jsonl"] })
      .notNull()
      .default("text"),
    timeoutSeconds: integer(),
    retry: jsonObjectColumn(),
    onWorkerLoss: text({ enum: ["abandon", "requeue"] })
      .notNull()
      .default("abandon"),
    workflowId: reference("workflow").references(() => workflowDefinition.id, { onDelete: "set null" }),
    permissionSetRefs: textList(),
    /** How its container is run; null in other runtimes. */
    container: jsonObjectColumn(),
    workerSelector: jsonObjectColumn().notNull().default({}),
  },
  (t) => [
    check("action_ref_check", dotted(t.ref)),
    check("action_parameter_delivery_check", sql`${t.parameterDelivery} in ('stdin', 'file')`),
    check("action_parameter_format_check", sql`${t.parameterFormat} in ('json', 'yaml', 'dotenv')`),
    check("action_output_format_check", sql`${t.outputFormat} in ('text', 'json', 'yaml', 'jsonl')`),
    check("action_timeout_seconds_check", sql`${t.timeoutSeconds} > 0`),
    check("action_on_worker_loss_check", sql`${t.onWorkerLoss} in ('abandon', 'requeue')`),
    index("action_pack_idx").on(t.packId),
    index("action_label_idx").on(t.label, t.id),
    index("action_created_idx").on(t.created, t.id),
    index("action_updated_idx").on(t.updated, t.id),
    index("action_runtime_idx").on(t.runtimeId),
    index("action_workflow_idx").on(t.workflowId).where(sql`${t.workflowId} is not null`),
  ],
);
