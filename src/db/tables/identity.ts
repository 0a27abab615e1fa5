import { boolean, index, text } from "drizzle-orm/pg-core";
import { attune, jsonObjectColumn, versioned } from "../schema.ts";

/** A person or a machine that can sign in. */
export const identity = attune.table(
  "identity",
  {
    ...versioned(),
    login: text().notNull().unique(),
    displayName: text(),
    passwordHash: text(),
    attributes: jsonObjectColumn().notNull().default({}),
    frozen: boolean().notNull().default(false),
  },
  (t) => [index("identity_created_idx").on(t.created, t.id), index("identity_updated_idx").on(t.updated, t.id)],
);
