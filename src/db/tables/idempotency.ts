import { index, text, unique } from "drizzle-orm/pg-core";
import { attune, base, reference } from "../schema.ts";
import { identity } from "./identity.ts";

/** What a creating mutation made under a client's key: a replay answers the same entity. Kept for 24 hours. */
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
