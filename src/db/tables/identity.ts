import { boolean, index, text } from "drizzle-orm/pg-core";
import { attune, jsonObject, versioned } from "../schema.ts";

/** Who may sign in: a person or a machine. */
export const identity = attune.table(
  "identity",
  {
    ...versioned(),
    login: text().notNull().unique(),
    displayName: text(),
    passwordHash: text(),
    attributes: jsonObject().notNull().default({}),
    frozen: boolean().notNull().default(false),
  },
  (t) => [index("identity_created_idx").on(t.created, t.id), index("identity_updated_idx").on(t.updated, t.id)],
);
