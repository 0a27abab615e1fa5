import { sql } from "drizzle-orm";
import { rows } from "../src/db/client.ts";
import { write } from "../src/db/tx.ts";
import { emitEvents } from "../src/event/record.ts";
import { createFeed } from "../src/notifier/feed.ts";
import type { ChangeFilter } from "../src/notifier/page.ts";
import { startExecutor } from "../src/roles/executor.ts";
import { startClaims } from "../src/worker/claims.ts";
import { createReach } from "../src/worker/http.ts";
import { findRuntimes } from "../src/worker/registry.ts";
import type { Stage } from "./stage.ts";
import { percentile } from "./statistics.ts";

/** `count` events, `batch` per transaction, by `emitters` concurrent emitters. */
export interface Load {
  batch: number;
  emitters: number;
  count: number;
}

/** The executor, the worker and the feed in this process, with the server's settings. */
export interface Pipeline extends AsyncDisposable {
  /** Emits events and waits until the feed has delivered the completion of each. */
  run(load: Load): Promise<void>;
  /** Emits one event; resolves when the feed has delivered its completion. */
  runOne(): Promise<void>;
}

const sweepMs = 15_000;
const deadlineMs = 120_000;

/** Starts the roles over the stage. */
export async function startPipeline({ services, trigger }: Stage): Promise<Pipeline> {
  const feed = await createFeed(services);
  const executor = startExecutor(services, sweepMs);
  const worker = await startClaims(services, {
    runtimes: await findRuntimes(services, process.env["PATH"] ?? ""),
    slots: 10,
    stopMs: 1000,
    warm: true,
    environmentsDir: "/nonexistent",
    runtimeSlots: new Map(),
    labels: {},
    host: {
      base: {},
      buildBase: {},
      engineBase: {},
      apiUrl: "",
      runAs: null,
      releases: new Map(),
      installs: { directory: "/nonexistent", sources: [], indexes: [] },
      reach: createReach([]),
    },
  });
  const stopping = new AbortController();
  const waiting = new Map<string, () => void>();
  const early = new Set<string>();
  const watching = (async () => {
    const filter: ChangeFilter = {
      channel: "execution",
      entityId: null,
      matches: (change) => change.channel === "execution" && change.content.toStatus === "completed",
    };
    for await (const change of feed.follow(filter, null, stopping.signal)) {
      if (change.channel !== "execution") continue;
      const event = change.content.traceTag.split(".").at(-1) ?? "";
      const done = waiting.get(event);
      if (done) done();
      else early.add(event);
      waiting.delete(event);
    }
  })();
  const completed = (event: string) =>
    early.delete(event) ? Promise.resolve() : new Promise<void>((resolve) => waiting.set(event, resolve));
  const emit = (count: number) =>
    write(services, (tx) =>
      emitEvents(
        tx,
        Array.from({ length: count }, (_, number) => ({
          trigger,
          payload: { number },
          config: null,
          source: null,
          rule: null,
          traceTag: null,
          cause: null,
          generation: 0,
        })),
      ),
    );
  return {
    run: async ({ batch, emitters, count }) => {
      let left = count;
      const all: Promise<void>[] = [];
      const emitter = async () => {
        while (left > 0) {
          const size = Math.min(batch, left);
          left -= size;
          all.push(...(await emit(size)).map(completed));
        }
      };
      await Promise.all(Array.from({ length: emitters }, emitter));
      await withDeadline(Promise.all(all), () => `${waiting.size} of ${count} events were not completed`);
    },
    runOne: async () => {
      const [event = ""] = await emit(1);
      await withDeadline(completed(event), () => `the event ${event} was not completed`);
    },
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await watching;
      await worker[Symbol.asyncDispose]();
      await executor[Symbol.asyncDispose]();
      await feed[Symbol.asyncDispose]();
    },
  };
}

async function withDeadline(work: Promise<unknown>, what: () => string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what()} within ${deadlineMs / 1000} s`)), deadlineMs);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Returns the id of the newest event; "0" without one. */
export async function newestEvent({ services }: Stage): Promise<string> {
  const [newest] = await rows<{ id: string }>(
    services.db,
    sql`select coalesce(max(id), 0)::text as id from attune.event`,
  );
  return newest?.id ?? "0";
}

/**
 * Counts the rows. Throws unless exactly `count` events have ids above `after`, each with exactly one enforcement, one completed
 * execution, and its five transitions in order.
 */
export async function verify({ services }: Stage, after: string, count: number): Promise<void> {
  const [found] = await rows<Record<string, number>>(
    services.db,
    sql`with emitted as (
        select e.id, e.evaluated_at is not null as evaluated, count(distinct n.id) as enforcements, count(distinct x.id) as executions,
          count(t.id) as transitions, string_agg(t.to_status::text, ' ' order by t.id) as path, min(x.status::text) as status
        from attune.event e left join attune.enforcement n on n.event = e.id
          left join attune.execution x on x.enforcement = n.id left join attune.execution_transition t on t.execution = x.id
        where e.id > ${after}::bigint group by e.id)
      select count(*)::int as events, count(*) filter (where evaluated)::int as evaluated,
        count(*) filter (where enforcements = 1)::int as "one enforcement",
        count(*) filter (where executions = 1 and status = 'completed')::int as "one completed execution",
        count(*) filter (where transitions = 5 and path = 'requested scheduling scheduled running completed')::int as "five transitions"
      from emitted`,
  );
  for (const [what, number] of Object.entries(found ?? {})) {
    if (number !== count) throw new Error(`of ${count} events, the rows show ${number} with: ${what}`);
  }
}

/** Measures the time from event to completion, in milliseconds, at a steady rate; events do not wait for one another. */
export async function measureLatency(
  pipeline: Pipeline,
  { perSecond, seconds }: { perSecond: number; seconds: number },
): Promise<{ p50: number; p99: number; max: number; events: number }> {
  const latencies: number[] = [];
  const started = performance.now();
  const running: Promise<void>[] = [];
  for (let number = 0; number < perSecond * seconds; number += 1) {
    const due = started + (number * 1000) / perSecond;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
    const from = performance.now();
    running.push(
      pipeline.runOne().then(() => {
        latencies.push(performance.now() - from);
      }),
    );
  }
  await Promise.all(running);
  return {
    p50: percentile(latencies, 50),
    p99: percentile(latencies, 99),
    max: percentile(latencies, 100),
    events: latencies.length,
  };
}
