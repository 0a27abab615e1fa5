import { getColumns, type SQL, sql } from "drizzle-orm";
import { alias, type PgColumn, type PgTable } from "drizzle-orm/pg-core";
import { readable } from "../../access/resource.ts";
import { rows } from "../../db/client.ts";
import { execution } from "../../db/tables/execution.ts";
import { runtime } from "../../db/tables/runtime.ts";
import { inProgress, statusIn } from "../../execution/states.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { Count } from "../kit/count.ts";
import { countLimit } from "../kit/totals.ts";

interface QueueStats {
  runtimeRef: string;
  scheduled: number;
  oldest: Date | null;
  running: number;
  waiting: number;
  workers: number;
}

const QueueStatsType = builder.objectRef<QueueStats>("QueueStats").implement({
  description: "What the executions of one runtime wait for now, as far as you may read them.",
  fields: (t) => ({
    runtimeRef: t.exposeString("runtimeRef", { description: "The runtime's ref: each has a queue of its own." }),
    scheduled: t.expose("scheduled", { type: Count, description: "The executions that wait for a worker." }),
    oldestScheduledAt: t.expose("oldest", {
      type: "DateTime",
      nullable: true,
      description: "Since when the first of them waits.",
    }),
    waitingForSlot: t.expose("waiting", {
      type: Count,
      description: "The executions that wait for a slot of a policy.",
    }),
    running: t.expose("running", { type: Count, description: "The executions that workers run." }),
    workers: t.exposeInt("workers", { description: "The healthy workers that take executions from the queue." }),
  }),
});

/** Returns the numbers of every queue in one statement; each count stops at the limit of totals. */
async function findStats({ db, session }: Context): Promise<QueueStats[]> {
  const columnsOf = (table: PgTable) => getColumns(table) as Readonly<Record<string, PgColumn>>; // an alias has its table's
  const may = (resource: "execution" | "runtime", table: PgTable) =>
    (session && readable(session, resource)?.(columnsOf(table))) ?? sql`true`;
  const e = alias(execution, "e");
  const those = (status: SQL) => sql`from attune.execution e join attune.action a on a.id = e.action
    where a.runtime = rt.id and ${status} and ${may("execution", e)}`;
  const count = (status: SQL) => sql`(select count(*) from (select ${those(status)} limit ${countLimit}) c)::int`;
  const scheduled = statusIn(["scheduled"], "e.status");
  const found = await rows<Omit<QueueStats, "oldest"> & { oldestMs: number | null }>(
    db,
    sql`select rt.ref as "runtimeRef", ${count(scheduled)} as scheduled, ${count(sql`e.waits_for = 'slot'`)} as waiting,
        ${count(sql`${statusIn(inProgress, "e.status")} and e.worker is not null`)} as running,
        (select extract(epoch from e.scheduled_at) * 1000 ${those(scheduled)} order by e.created, e.id limit 1)::float8 as "oldestMs",
        (select count(*) from attune.healthy_worker w where not w.cordoned and w.capabilities -> 'runtimes' ? rt.ref)::int as workers
      from attune.runtime rt where rt.runtime_type = 'action' and ${may("runtime", alias(runtime, "rt"))} order by rt.ref`,
  );
  return found.map(({ oldestMs, ...stats }) => ({ ...stats, oldest: oldestMs === null ? null : new Date(oldestMs) }));
}

builder.queryField("queueStats", (t) =>
  t.field({
    type: [QueueStatsType],
    nullable: { list: true, items: false },
    authScopes: { may: "execution:read" },
    complexity: 20,
    description: "What waits and runs in the queue of each runtime that you may read.",
    resolve: (_root, _args, ctx) => findStats(ctx),
  }),
);
