import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { openSession, type Session } from "../src/access/session.ts";
import { ensureAdmin } from "../src/access/token.ts";
import { ensureDefaultPack, loadPack } from "../src/catalog/load.ts";
import { readPack } from "../src/catalog/read.ts";
import { createTrigger } from "../src/catalog/trigger.ts";
import { type Database, openDatabase, rows } from "../src/db/client.ts";
import { eventQueue, type Jobs, runtimeQueue, startJobs } from "../src/db/jobs.ts";
import { migrate } from "../src/db/migrate.ts";
import type { Services } from "../src/db/services.ts";
import { write } from "../src/db/tx.ts";
import { createWake } from "../src/db/wake.ts";
import { type EventTrigger, findTrigger } from "../src/event/record.ts";
import { createLog } from "../src/log.ts";
import { createRule } from "../src/rule/rule.ts";
import { syncTimer } from "../src/rule/timer.ts";
import { createKeyring } from "../src/secrecy/keyring.ts";
import { commit } from "../tests/support/commit.ts";
import type { Place } from "./place.ts";

const corePack = fileURLToPath(new URL("../packs/core", import.meta.url));
/** The server's default. */
const maxConnections = 10;

/** An engine over a migrated database with the core pack and one rule, `core.noop` on the trigger; no role runs yet. */
export interface Stage extends AsyncDisposable {
  services: Services;
  database: Database;
  session: Session;
  trigger: EventTrigger;
  /** What the database says that it is. */
  version: string;
}

/** Prepares the place as the server does at its start, and adds the rule that is measured. */
export async function openStage(place: Place): Promise<Stage> {
  const log = createLog({ level: "warn", format: "json" });
  const database = await openDatabase({ url: place.url, dataDir: place.dataDir, maxConnections, fsync: place.fsync });
  const started = Promise.withResolvers<Jobs>();
  await migrate(database, async () => started.resolve(await startJobs(database, log)));
  const jobs = await started.promise;
  const wake = await createWake(database, log);
  const keyring = createKeyring(Buffer.alloc(32, 1));
  const services: Services = { kind: database.kind, db: database.db, jobs, wake, log, keyring, artifactsDir: null };
  await loadPack(services, await readPack(corePack), syncTimer);
  const admin = await write(services, async (tx) => {
    await ensureDefaultPack(tx);
    return await ensureAdmin(tx);
  });
  await jobs.open(eventQueue);
  const runtimes = await rows<{ ref: string }>(
    services.db,
    sql`select ref from attune.runtime where runtime_type = 'action'`,
  );
  for (const { ref } of runtimes) await jobs.open(runtimeQueue(ref));
  const session = openSession(admin);
  await commit(services, createTrigger, session, { ref: "default.bench" });
  await commit(services, createRule, session, { ref: "default.bench", trigger: "default.bench", action: "core.noop" });
  const trigger = await findTrigger(services.db, "default.bench");
  if (!trigger) throw new Error("the trigger that was just made is not there");
  const [server] = await rows<{ version: string }>(
    services.db,
    sql`select current_setting('server_version') as version`,
  );
  return {
    services,
    database,
    session,
    trigger,
    version: server?.version ?? "",
    [Symbol.asyncDispose]: async () => {
      await wake.close();
      await jobs.stop();
      await database.close();
    },
  };
}
