import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type SQL, sql } from "drizzle-orm";
import { openSession, type Session } from "../../src/access/session.ts";
import { ensureAdmin } from "../../src/access/token.ts";
import { createTrigger } from "../../src/catalog/trigger.ts";
import { rows } from "../../src/db/client.ts";
import { runtimeQueue } from "../../src/db/jobs.ts";
import { write } from "../../src/db/tx.ts";
import { createEvent } from "../../src/event/record.ts";
import { executeAction } from "../../src/execution/execute.ts";
import { type ExecutionStatus, isTerminal } from "../../src/execution/states.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { startExecutor } from "../../src/roles/executor.ts";
import type { RuleFields } from "../../src/rule/definition.ts";
import { createRule } from "../../src/rule/rule.ts";
import { type SensorOptions, startSensors } from "../../src/sensor/supervise.ts";
import { startTimers } from "../../src/sensor/timer.ts";
import { startClaims, type WorkerOptions } from "../../src/worker/claims.ts";
import { createReach } from "../../src/worker/http.ts";
import { findRuntimes } from "../../src/worker/registry.ts";
import type { HostEnvironment } from "../../src/worker/runtimes/runtime.ts";
import type { Row } from "../db/model/sample.ts";
import { type Build, createBuild } from "./build.ts";
import { commit } from "./commit.ts";
import { cloneDatabase, createServices, type TestServices } from "./database.ts";
import { until } from "./until.ts";

const path = process.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin";
const never = 24 * 3600 * 1000;

let foundRuntimes: ReturnType<typeof findRuntimes> | null = null;
/** Returns the interpreters of this machine; their versions are read once per process. */
function runtimesOfHost(services: TestServices): ReturnType<typeof findRuntimes> {
  foundRuntimes ??= findRuntimes(services, path);
  return foundRuntimes;
}

/** An execution's row as tests read it. */
export interface ExecutionRow {
  id: string;
  status: ExecutionStatus;
  waitsFor: string | null;
  attempt: number;
  action: string | null;
  worker: string | null;
  reason: string | null;
  config: JsonObject;
  result: JsonObject | null;
  error: { code: string; message: string } | null;
}

/** A started role. `stop` may be called early; the world's end calls it in any case. */
export interface Part {
  stop(): Promise<void>;
}

export interface World extends AsyncDisposable {
  services: TestServices;
  session: Session;
  /** The directory of the environments of its workers. */
  environmentsDir: string;
  /** Creates a trigger and returns its ref. */
  trigger(fields?: { outSchema?: JsonObject; paramSchema?: JsonObject; enabled?: boolean }): Promise<string>;
  /** Creates a rule (by default with the action core.noop) and returns its ref. */
  rule(trigger: string, fields?: RuleFields): Promise<string>;
  /** Creates an event and returns its id. */
  event(trigger: string, payload?: JsonObject): Promise<string>;
  /** Executes an action by hand and returns the execution's id. */
  execute(action: string, parameters?: JsonObject, timeoutSeconds?: number): Promise<string>;
  /** Creates an action of the pack `default` in a runtime, built-in by default, and returns its ref. */
  action(values?: Row, runtime?: string): Promise<string>;
  /** Creates a worker that exists only as a row, by default an active one: tests act for it. */
  workerRow(values?: Row): Promise<{ id: string; name: string }>;
  /** Creates a row of any table. */
  build: Build;
  /** Evaluates events as they arrive; sweeps once at its start, then every `sweepMs`. */
  startExecutor(sweepMs?: number): Part;
  /** Its stop waits `stopMs` milliseconds for what it runs; its requests reach public addresses and `httpAllow`. */
  startWorker(
    slots?: number,
    stopMs?: number,
    httpAllow?: readonly string[],
    host?: Partial<HostEnvironment>,
    more?: Partial<Pick<WorkerOptions, "labels" | "runtimeSlots" | "warm">>,
  ): Promise<Part>;
  startTimers(): Part;
  /** Sensors end within `graceMs`; their leases last 20 s. */
  startSensors(options?: Partial<SensorOptions>, host?: Partial<SensorOptions["host"]>): Part;
  /** The rows of a hand-written query. */
  all<T extends object>(query: SQL): Promise<T[]>;
  /** The only row of a hand-written query; throws unless there is exactly one. */
  one<T extends object>(query: SQL): Promise<T>;
  execution(id: string): Promise<ExecutionRow>;
  /** Waits until the execution has ended. */
  ended(id: string, ms?: number): Promise<ExecutionRow>;
  /** Its timeline, such as `requested>scheduling`; an insert comes from `-`. */
  timeline(id: string): Promise<string[]>;
  /** Its output on one stream. */
  log(id: string, stream: "stdout" | "stderr" | "system"): Promise<string>;
}

/** Creates an engine over a new clone with the core pack loaded; what is started through it stops at its end. */
export async function createWorld(): Promise<World> {
  const services = await createServices(await cloneDatabase("core"));
  const admin = await write(services, (tx) => ensureAdmin(tx));
  const runtimes = await rows<{ ref: string }>(services.db, sql`select ref from attune.runtime`);
  for (const { ref } of runtimes) await services.jobs.open(runtimeQueue(ref));
  const session = openSession(admin);
  const environmentsDir = join(tmpdir(), `attune-environments-${randomUUID()}`);
  const started = roles(services, environmentsDir);
  return { services, session, environmentsDir, ...creators(services, session), ...readers(services), ...started };
}

function creators(
  services: TestServices,
  session: Session,
): Pick<World, "trigger" | "rule" | "event" | "execute" | "action" | "workerRow" | "build"> {
  const build = createBuild(services);
  let count = 0;
  const next = (kind: string) => {
    count += 1;
    return `default.${kind}_${count}`;
  };
  return {
    trigger: async (fields = {}) => {
      const ref = next("trigger");
      await commit(services, createTrigger, session, { ref, ...fields });
      return ref;
    },
    rule: async (trigger, fields = {}) => {
      const ref = next("rule");
      await commit(services, createRule, session, { ...fields, ref, trigger, action: fields.action ?? "core.noop" });
      return ref;
    },
    event: async (trigger, payload = {}) =>
      String((await commit(services, createEvent, session, { trigger, payload, traceTag: null })).id),
    execute: async (action, parameters = {}, timeoutSeconds) => {
      const input = { action, parameters, timeoutSeconds: timeoutSeconds ?? null, priority: null };
      return String((await commit(services, executeAction, session, input)).id);
    },
    action: async (values = {}, runtime = "core.action.builtin") => {
      const ref = String(values["ref"] ?? next("action"));
      const refs = { pack_ref: "default", label: ref, entrypoint: ref, is_adhoc: true };
      const idOf = (table: string, of: string) => `(select id from attune.${table} where ref = '${of}')`;
      const expressions = { pack: idOf("pack", "default"), runtime: idOf("runtime", runtime) };
      await build("action", { ref, ...refs, ...values }, expressions);
      return ref;
    },
    workerRow: (values = {}) =>
      build("worker", { name: "w", status: "active", ...values }, { last_heartbeat: "now()" }),
    build,
  };
}

function roles(
  services: TestServices,
  environmentsDir: string,
): Pick<World, "startExecutor" | "startWorker" | "startTimers" | "startSensors" | typeof Symbol.asyncDispose> {
  const parts = new Set<AsyncDisposable>();
  const keep = (part: AsyncDisposable): Part => {
    parts.add(part);
    return {
      stop: async () => {
        if (parts.delete(part)) await part[Symbol.asyncDispose]();
      },
    };
  };
  return {
    startExecutor: (sweepMs = never) => keep(startExecutor(services, sweepMs)),
    startWorker: async (slots = 10, stopMs = 5000, httpAllow = [], host = {}, more = {}) =>
      keep(
        await startClaims(services, {
          runtimes: await runtimesOfHost(services),
          slots,
          stopMs,
          environmentsDir,
          ...{ labels: {}, runtimeSlots: new Map(), warm: true, ...more },
          host: {
            ...{
              base: { PATH: path },
              buildBase: {},
              engineBase: {},
              apiUrl: "",
              runAs: null,
              releases: new Map(),
              installs: { directory: join(environmentsDir, "packs"), sources: [], indexes: [] },
              reach: createReach(httpAllow),
            },
            ...host,
          },
        }),
      ),
    startTimers: () => keep(startTimers(services)),
    startSensors: (options = {}, more = {}) => {
      const host = { base: { PATH: path }, buildBase: {}, apiUrl: "", runAs: null, releases: new Map(), ...more };
      return keep(startSensors(services, { host, environmentsDir, leaseMs: 20_000, graceMs: 2000, ...options }));
    },
    [Symbol.asyncDispose]: async () => {
      for (const part of parts) await part[Symbol.asyncDispose]();
      rmSync(environmentsDir, { recursive: true, force: true });
      await services[Symbol.asyncDispose]();
    },
  };
}

function readers(services: TestServices): Pick<World, "all" | "one" | "execution" | "ended" | "timeline" | "log"> {
  const all = <T extends object>(query: SQL) => rows<T>(services.db, query);
  const one = async <T extends object>(query: SQL) => {
    const [row, ...more] = await all<T>(query);
    if (!row || more.length > 0) throw new Error(`expected one row, found ${row ? more.length + 1 : 0}`);
    return row;
  };
  const execution = (id: string) =>
    one<ExecutionRow>(
      sql`select id::text, status, waits_for as "waitsFor", attempt, action::text, worker::text, reason, config, result, error
        from attune.execution where id = ${id}::bigint`,
    );
  return {
    all,
    one,
    execution,
    ended: (id, ms) =>
      until(
        async () => {
          const row = await execution(id);
          return isTerminal(row.status) && row;
        },
        `the end of execution ${id}`,
        ms,
      ) as Promise<ExecutionRow>, // `until` returns only truthy values
    timeline: async (id) =>
      (
        await all<{ step: string }>(
          sql`select coalesce(from_status::text, '-') || '>' || to_status as step from attune.execution_transition
            where execution = ${id}::bigint order by id`,
        )
      ).map(({ step }) => step),
    log: async (id, stream) =>
      (
        await one<{ text: string }>(
          sql`select coalesce(string_agg(text, '' order by seq), '') as text from attune.execution_log
            where execution = ${id}::bigint and stream = ${stream}::attune.log_stream`,
        )
      ).text,
  };
}
