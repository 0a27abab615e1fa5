import { sql } from "drizzle-orm";
import { expect, test } from "vitest";
import { openSession } from "../../src/access/session.ts";
import { ensureAdmin } from "../../src/access/token.ts";
import { type Database, rows } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";
import { write } from "../../src/db/tx.ts";
import { expireInquiries } from "../../src/executor/inquiries.ts";
import { sweep } from "../../src/executor/sweep.ts";
import { respondToInquiry } from "../../src/inquiry/respond.ts";
import { commit } from "../support/commit.ts";
import { createServices } from "../support/database.ts";
import { releasedDatabase } from "../support/released.ts";

/** Stores executions as the version before `waits_for` stored them; each has its kind as its trace tag. */
async function fill(database: Database): Promise<void> {
  const run = (text: string) => database.db.execute(sql.raw(text));
  await run(
    `insert into attune.worker (name, worker_type, status, last_heartbeat) values ('w', 'local', 'active', now() + interval '1 hour')`,
  );
  await run(`insert into attune.runtime (ref, runtime_type, name, distributions)
    values ('core.action.builtin', 'action', 'builtin', '{}')`);
  await run(`insert into attune.action (ref, label, entrypoint, runtime)
    select 'core.inquire', 'Ask', 'core.inquire', id from attune.runtime`);
  await run(`insert into attune.execution (action, action_ref, on_worker_loss, trace_tag, status)
    select a.id, a.ref, case tag when 'abandoned' then 'abandon' else 'requeue' end, tag, 'scheduled'
    from attune.action a, unnest('{parked,expiring,busy,requeued,abandoned,canceling,scheduled}'::text[]) tag`);
  await run(`update attune.execution e set status = 'running', attempt = 1, started_at = now(), deadline = now() + interval '1 hour',
      worker = w.id, worker_name = w.name from attune.worker w where e.trace_tag <> 'scheduled'`);
  // Executions with an inquiry release their worker; the worker of the others was deleted.
  await run(`update attune.execution set worker = null, worker_name = null where trace_tag in ('parked', 'expiring')`);
  await run(`update attune.execution set worker = null where trace_tag in ('requeued', 'abandoned', 'canceling')`);
  await run(`update attune.execution set status = 'canceling' where trace_tag = 'canceling'`);
  await run(`insert into attune.inquiry (execution, prompt, timeout_at)
    select id, 'Go on?', case trace_tag when 'expiring' then now() - interval '1 minute' end
    from attune.execution where trace_tag in ('parked', 'expiring', 'busy')`);
}

test("an execution that waited for an inquiry before the column existed continues to wait, and ends with the response", async () => {
  const { database, location } = await releasedDatabase("20261121165458_ended_tokens");
  await fill(database);
  await migrate(database, async () => {});
  await database[Symbol.asyncDispose]();

  await using services = await createServices(location);
  const found = async () => {
    const list = await rows<{ tag: string; status: string; waitsFor: string | null; worker: boolean }>(
      services.db,
      sql`select trace_tag as "tag", status as "status", waits_for as "waitsFor", worker is not null as "worker"
        from attune.execution`,
    );
    return Object.fromEntries(list.map(({ tag, ...row }) => [tag, row]));
  };
  const lost = (status: string) => ({ status, waitsFor: null, worker: false });
  const migrated = {
    parked: { status: "running", waitsFor: "inquiry", worker: false },
    expiring: { status: "running", waitsFor: "inquiry", worker: false },
    busy: { status: "running", waitsFor: null, worker: true },
    requeued: lost("scheduled"),
    abandoned: lost("abandoned"),
    canceling: lost("cancelled"),
    scheduled: lost("scheduled"),
  };
  expect(await found()).toEqual(migrated);
  const steps = await rows<{ step: string }>(
    services.db,
    sql`select from_status || '>' || to_status || ': ' || t.reason as step from attune.execution_transition t
      join attune.execution e on e.id = t.execution where t.reason is not null order by e.id`,
  );
  expect(steps.map(({ step }) => step)).toEqual([
    "running>scheduled: the worker was lost",
    "running>abandoned: the worker was lost",
    "canceling>cancelled: the worker was lost",
  ]);
  await sweep(services);
  expect(await found()).toEqual(migrated);

  const session = openSession(await write(services, (tx) => ensureAdmin(tx)));
  const [inquiry] = await rows<{ id: string }>(
    services.db,
    sql`select i.id::text from attune.inquiry i join attune.execution e on e.id = i.execution where e.trace_tag = 'parked'`,
  );
  await commit(services, respondToInquiry, session, { id: BigInt(inquiry?.id ?? 0), response: "yes" });
  await expireInquiries(services);
  expect(await found()).toEqual({ ...migrated, parked: lost("completed"), expiring: lost("timeout") });
});
