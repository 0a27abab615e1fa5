import { sql } from "drizzle-orm";
import { check, index, text, unique } from "drizzle-orm/pg-core";
import { attune, instant, packEnvironmentStatus, reference, versioned } from "../schema.ts";
import { pack } from "./pack.ts";
import { runtime } from "./runtime.ts";
import { worker } from "./worker.ts";

/**
 * The libraries of a pack for one interpreter, installed in a directory of one store: a file system that the workers of a host share.
 * Other contents of the files that define it give another row, so that nothing changes under running work.
 */
export const packEnvironment = attune.table(
  "pack_environment",
  {
    ...versioned(),
    packId: reference("pack")
      .notNull()
      .references(() => pack.id, { onDelete: "cascade" }),
    runtimeId: reference("runtime")
      .notNull()
      .references(() => runtime.id, { onDelete: "cascade" }),
    store: text().notNull(),
    manifestChecksum: text().notNull(),
    interpreter: text().notNull(),
    path: text().notNull(),
    status: packEnvironmentStatus().notNull().default("pending"),
    claimedById: reference("claimed_by").references(() => worker.id, { onDelete: "set null" }),
    claimExpiresAt: instant(),
    installLog: text(),
    installError: text(),
  },
  (t) => [
    unique("pack_environment_contents_key").on(t.packId, t.runtimeId, t.manifestChecksum, t.interpreter, t.store),
    check(
      "pack_environment_claim_expires_at_check",
      sql`(${t.status} = 'installing') = (${t.claimExpiresAt} is not null)`,
    ),
    index("pack_environment_runtime_idx").on(t.runtimeId),
    index("pack_environment_claimed_by_idx").on(t.claimedById).where(sql`${t.claimedById} is not null`),
  ],
);
