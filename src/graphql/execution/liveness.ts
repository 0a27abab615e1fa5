import { getColumns, type SQL, sql } from "drizzle-orm";
import { alias, type PgColumn, type PgTable } from "drizzle-orm/pg-core";
import { readable } from "../../access/resource.ts";
import { anyOf, rows } from "../../db/client.ts";
import { runtime } from "../../db/tables/runtime.ts";
import { worker } from "../../db/tables/worker.ts";
import { inProgress, statusIn } from "../../execution/states.ts";
import {
  isOverdue,
  isSilent,
  isUnqueued,
  isUnschedulable,
  patience,
  secondsOf,
  takesSuch,
} from "../../execution/stuck.ts";
import { hasLostInquiry } from "../../inquiry/expire.ts";
import { createBatchLoader } from "../kit/batch.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { Execution } from "./execution.ts";

interface Liveness {
  on: "WORKER" | "QUEUE" | "ADMISSION" | "INQUIRY" | "SLOT" | "TIME" | "RETRY" | "TASKS";
  isStuck: boolean;
  lastHeartbeat: Date | null;
  lostAt: Date | null;
  workers: number | null;
  position: number | null;
  movesAt: Date | null;
}

const DependsOn = builder.enumType("LivenessState", {
  description: "What an execution that has not ended depends on.",
  values: {
    WORKER: { description: "The worker that runs it." },
    QUEUE: { description: "A worker that takes it from the queue of its runtime." },
    ADMISSION: { description: "Its admission, which follows at once." },
    INQUIRY: { description: "The response to its inquiry." },
    SLOT: { description: "A slot of a policy." },
    TIME: { description: "The time for which it was requested." },
    RETRY: { description: "The end of the delay of its retry." },
    TASKS: { description: "Its tasks." },
  },
});

const LivenessType = builder.objectRef<Liveness>("ExecutionLiveness").implement({
  description: "Why an execution that has not ended is where it is, and what moves it next.",
  fields: (t) => ({
    on: t.expose("on", { type: DependsOn, description: "What it depends on." }),
    isStuck: t.exposeBoolean("isStuck", {
      description:
        "Whether only the sweep moves it, within 15 s while an executor runs: a worker, job or inquiry was lost, or its time is over.",
    }),
    movesAt: t.expose("movesAt", {
      type: "DateTime",
      nullable: true,
      description:
        "When it moves at the latest: its time, its deadline, the time-out of its inquiry, or the end of its wait for a worker; null where no time is set.",
    }),
    lastHeartbeat: t.expose("lastHeartbeat", {
      type: "DateTime",
      nullable: true,
      description: "The last heartbeat of the worker that runs it, for those who may read the worker.",
    }),
    lostAt: t.expose("lostAt", {
      type: "DateTime",
      nullable: true,
      description: "When that worker counts as lost without another heartbeat, unless the database is away meanwhile.",
    }),
    workers: t.exposeInt("workers", {
      nullable: true,
      description: "In a queue: the healthy workers that serve it, for those who may read the runtime.",
    }),
    position: t.exposeInt("position", {
      nullable: true,
      description: "Its position among those that wait for the slot, from 1.",
    }),
  }),
});

const load = createBatchLoader<Liveness>();
const times = ["lastHeartbeat", "lostAt", "movesAt"] as const;

/** Returns the liveness of those executions that have not ended, in one statement. */
async function findLiveness(
  ids: readonly bigint[],
  { db, session, services }: Context,
): Promise<ReadonlyMap<bigint, Liveness>> {
  const may = (resource: "runtime" | "worker", table: PgTable): SQL =>
    (session && readable(session, resource)?.(getColumns(table) as Readonly<Record<string, PgColumn>>)) ?? sql`true`;
  const mayWorker = may("worker", alias(worker, "w"));
  const found = await rows<
    Omit<Liveness, (typeof times)[number]> & Record<"id" | (typeof times)[number], string | null>
  >(
    db,
    sql`select e.id::text as "id",
        case when e.waits_for is not null then upper(e.waits_for) when e.worker is not null and e.status <> 'scheduled' then 'WORKER'
          when e.status = 'scheduled' then 'QUEUE' else 'ADMISSION' end as "on",
        coalesce(${isOverdue} or (${hasLostInquiry}) or (${isUnqueued}) or (${isUnschedulable(services.scheduleSeconds)})
          or (${statusIn(inProgress, "e.status")} and e.waits_for is null and ${isSilent}), false) as "isStuck",
        case when ${mayWorker} and e.status <> 'scheduled' then to_jsonb(w.last_heartbeat) #>> '{}' end as "lastHeartbeat",
        case when ${mayWorker} and e.status <> 'scheduled' then to_jsonb(w.last_heartbeat + ${patience.heartbeat}) #>> '{}' end as "lostAt",
        case when e.status = 'scheduled' and ${may("runtime", alias(runtime, "rt"))} then (select count(*) from attune.healthy_worker h
          where ${takesSuch})::int end as "workers",
        (select count(*) from attune.policy_slot b where s.state = 'waiting' and b.policy_group = s.policy_group and b.state = 'waiting'
          and (b.priority > s.priority or b.priority = s.priority and b.id <= s.id) having count(*) > 0)::int as "position",
        to_jsonb(case when e.waits_for in ('time', 'retry') then e.run_at when e.waits_for = 'slot' then g.next_at
          when e.status = 'scheduled' then e.scheduled_at + ${secondsOf(services.scheduleSeconds)}
          else least(e.deadline, (select min(i.timeout_at) from attune.inquiry i where i.execution = e.id and i.status = 'pending'))
          end) #>> '{}' as "movesAt"
      from attune.execution e left join attune.action a on a.id = e.action left join attune.runtime rt on rt.id = a.runtime
        left join attune.worker w on w.id = e.worker left join attune.policy_slot s on s.execution = e.id and s.state = 'waiting'
        left join attune.policy_group g on g.id = s.policy_group
      where e.id = ${anyOf(ids.map(String))} and not attune.is_terminal(e.status)`,
  );
  const timeOf = (text: string | null) => (text === null ? null : new Date(text));
  return new Map(
    found.map(({ id, lastHeartbeat, lostAt, movesAt, ...live }) => [
      BigInt(id ?? 0),
      { ...live, lastHeartbeat: timeOf(lastHeartbeat), lostAt: timeOf(lostAt), movesAt: timeOf(movesAt) },
    ]),
  );
}

builder.drizzleObjectFields(Execution, (t) => ({
  liveness: t.field({
    type: LivenessType,
    nullable: true,
    complexity: 5,
    description: "Why it is where it is, and what moves it next; null once it has ended.",
    select: { columns: { id: true } },
    resolve: async ({ id }, _args, ctx, info) => (await load(id, findLiveness, ctx, info)) ?? null,
  }),
}));
