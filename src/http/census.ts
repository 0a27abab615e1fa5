import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import { sensorProcessStatus } from "../db/schema.ts";
import type { Services } from "../db/services.ts";
import { execution } from "../db/tables/execution.ts";
import { moves } from "../execution/states.ts";

/** Scrapes within this time share one statement. */
const freshMs = 5000;
/** Measuring the size of the embedded database asks for each of its files. */
const sizeMs = 60_000;
/** Counting ends here. */
const most = sql.raw("10000");

/** The numbers that only the database knows. */
export interface Census {
  /** Sets the gauges, at most every five seconds. Rejects when the database cannot be asked. */
  update(): Promise<void>;
  /** Removes the numbers, which are unknown now. */
  lost(): void;
}

interface Counted {
  kind: "connections" | "queue" | "status" | "waits_for" | "workers" | "sensors" | "size";
  name: string;
  count: number;
  age: number | null;
}

/** Returns the census of a process: any number of scrapes wait for one statement. */
export function createCensus({ db, kind, metrics, room }: Services): Census {
  let pending: Promise<void> | null = null;
  let asked = Number.NEGATIVE_INFINITY;
  let sized = Number.NEGATIVE_INFINITY;
  const {
    connections,
    queueDepth,
    queueAge,
    executions,
    waiting,
    workers,
    sensors,
    databaseSize,
    databaseUp,
    diskFree,
  } = metrics;
  metrics.read(() => {
    const free = room.free();
    if (free !== null) diskFree.set(free);
  });

  const show: Readonly<Record<Counted["kind"], (counted: Counted) => void>> = {
    queue: ({ name, count: value, age }) => {
      queueDepth.set({ queue: name }, value);
      queueAge.set({ queue: name }, age ?? 0);
    },
    status: ({ name, count: value }) => executions.set({ status: name }, value),
    waits_for: ({ name, count: value }) => waiting.set({ waits_for: name }, value),
    connections: ({ name, count: value }) => connections.set({ state: name }, value),
    workers: ({ count: value }) => workers.set(value),
    sensors: ({ name, count: value }) => sensors.set({ status: name }, value),
    size: ({ count: value }) => databaseSize.set(value),
  };

  async function ask(): Promise<void> {
    const withSize = kind === "pglite" && performance.now() - sized > sizeMs;
    const counted = await count(db, withSize);
    connections.reset(); // a state without connections is not counted
    connections.reset(); // a state that no connection is in is not counted
    for (const each of counted) show[each.kind](each);
    databaseUp.set(1);
    asked = performance.now();
    if (withSize) sized = asked;
  }

  return {
    update: async () => {
      if (performance.now() - asked < freshMs) return;
      pending ??= ask().finally(() => {
        pending = null;
      });
      await pending;
    },
    lost: () => {
      asked = Number.NEGATIVE_INFINITY;
      for (const gauge of [connections, queueDepth, queueAge, executions, waiting, sensors]) gauge.reset();
      for (const gauge of [workers, databaseSize]) gauge.set(Number.NaN);
      sized = Number.NEGATIVE_INFINITY;
      databaseUp.set(0);
    },
  };
}

const live = Object.entries(moves).flatMap(([status, next]) => (next.length > 0 ? [status] : []));
const reasons = execution.waitsFor.enumValues;

/** Counts in one statement, whose every part reads at most that many entries of an index. */
async function count(db: Services["db"], withSize: boolean): Promise<Counted[]> {
  return await rows<Counted>(
    db,
    sql`with scheduled as materialized (select action, scheduled_at from attune.execution where status = 'scheduled'
          order by created, id limit ${most}),
        runtimes as materialized (select id, ref from attune.runtime where runtime_type = 'action' order by id limit 100),
        unevaluated as materialized (select e.created from attune.pending_event p join attune.event e on e.id = p.event
          order by p.event limit ${most})
      select 'queue' as kind, 'event' as name, count(*)::int as count,
          extract(epoch from clock_timestamp() - min(created))::float8 as age from unevaluated
      union all select 'queue', 'execution/' || rt.ref, count(s.action)::int, extract(epoch from clock_timestamp() - min(s.scheduled_at))::float8
        from runtimes rt left join (scheduled s join attune.action a on a.id = s.action) on a.runtime = rt.id group by rt.ref
      union all select 'status', w.name, (select count(*) from (select from attune.execution e
          where e.status = w.name::attune.execution_status limit ${most}) c)::int, null
        from jsonb_array_elements_text(${JSON.stringify(live)}::text::jsonb) as w(name)
      union all select 'waits_for', w.name, (select count(*) from (select from attune.execution e where e.waits_for = w.name limit ${most}) c)::int, null
        from jsonb_array_elements_text(${JSON.stringify(reasons)}::text::jsonb) as w(name)
      union all select 'workers', '', count(*)::int, null from attune.healthy_worker
      union all select 'sensors', w.name, (select count(*) from attune.sensor_process p where p.status = w.name::attune.sensor_process_status)::int, null
        from jsonb_array_elements_text(${JSON.stringify(sensorProcessStatus.enumValues)}::text::jsonb) as w(name)
      union all select 'connections', coalesce(c.state, 'other'), count(*)::int, null from pg_stat_activity c
        where c.datname = current_database() and c.application_name like 'attune%' group by c.state
      union all select 'size', '', pg_database_size(current_database())::float8, null where ${withSize}::boolean`,
  );
}
