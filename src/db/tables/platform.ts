import { integer, text } from "drizzle-orm/pg-core";
import { attune, base, jsonObjectColumn, reference } from "../schema.ts";

/**
 * Something that happened to the platform itself and that an enabled rule wants to know. Database triggers write it in the transaction of its cause; an
 * executor makes it an event.
 */
export const platformEvent = attune.table("platform_event", {
  ...base(),
  triggerRef: text().notNull(),
  payload: jsonObjectColumn().notNull(),
  causeExecutionId: reference("cause_execution"),
  generation: integer().notNull().default(0),
  traceTag: text(),
});

/** A condition of the platform that lasts: its beginning was reported. */
export const platformAlert = attune.table("platform_alert", { ...base(), name: text().notNull().unique() });
