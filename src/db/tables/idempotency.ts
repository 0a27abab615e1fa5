import { index, text, unique } from "drizzle-orm/pg-core";
import { attune, base, reference } from "../schema.ts";
import { identity } from "./identity.ts";

/** The entity that a mutation created with a client's key: a replay returns the same entity. Kept for 24 hours. */
export const idempotencyKey = attune.table(
  "idempotency_key",
  {
    ...base(),
    identityId: reference("identity")
      .notNull()
      .references(() => identity.id, { onDelete: "cascade" }),
    key: text().notNull(),
    operation: text().notNull(),
    inputHash: text().notNull(),
    entityType: text().notNull(),
    entityId: reference("entity").notNull(),
  },
  (t) => [
    unique("idempotency_key_identity_key_key").on(t.identityId, t.key),
    index("idempotency_key_created_idx").on(t.created),
  ],
);
