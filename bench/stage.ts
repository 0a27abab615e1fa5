import { sql } from "drizzle-orm";
import { openSession, type Session } from "../src/access/session.ts";
import { loadPacks, readPacks } from "../src/catalog/packs.ts";
import { createTrigger } from "../src/catalog/trigger.ts";
import { rows } from "../src/db/client.ts";
import { type EventTrigger, findTrigger } from "../src/event/record.ts";
import { createLog } from "../src/log.ts";
import { packRules } from "../src/rule/check.ts";
import { createRule } from "../src/rule/rule.ts";
import { createKeyring } from "../src/secrecy/keyring.ts";
import { type OpenServices, openServices } from "../src/services.ts";
import { commit } from "../tests/support/commit.ts";
import type { BenchDatabase } from "./database.ts";

/** The server's default. */
const maxConnections = 10;

/** An engine over a migrated database with the core pack and one rule, `core.noop` on the trigger; no role runs yet. */
export interface Stage extends AsyncDisposable {
  services: OpenServices;
  session: Session;
  trigger: EventTrigger;
  /** The version of the database. */
  version: string;
}

/** Prepares the database as the server does at its start, and adds the rule that is measured. */
export async function openStage(database: BenchDatabase): Promise<Stage> {
  const services = await openServices({
    url: database.url,
    dataDir: database.dataDir,
    maxConnections,
    fsync: database.fsync,
    log: createLog({ level: "warn", format: "json" }),
    openKeyring: () => createKeyring(Buffer.alloc(32, 1)),
    artifactsDir: null,
  });
  const admin = await loadPacks(services, await readPacks([]), packRules);
  const session = openSession(admin);
  await commit(services, createTrigger, session, { ref: "default.bench" });
  await commit(services, createRule, session, { ref: "default.bench", trigger: "default.bench", action: "core.noop" });
  const trigger = await findTrigger(services.db, "default.bench");
  if (!trigger) throw new Error("the trigger that was created is missing");
  const [server] = await rows<{ version: string }>(
    services.db,
    sql`select current_setting('server_version') as version`,
  );
  return {
    services,
    session,
    trigger,
    version: server?.version ?? "",
    [Symbol.asyncDispose]: services[Symbol.asyncDispose],
  };
}
