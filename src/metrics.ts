import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** From a millisecond to five minutes; what takes longer is counted above. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export type Metrics = ReturnType<typeof createMetrics>;

/**
 * Returns the metrics of one process. Parts count in memory, after the commit of what they count. No label takes a value that a user
 * can invent.
 */
export function createMetrics() {
  const registry = new Registry();
  const reads: (() => void)[] = [];
  return {
    ...flowMetrics(registry),
    ...apiMetrics(registry),
    ...stateMetrics(registry),
    registry,
    /** Is called before each rendering, to set gauges. */
    read: (each: () => void) => void reads.push(each),
    /** Returns the metrics as Prometheus text. */
    render: async (): Promise<string> => {
      for (const each of reads) each();
      return await registry.metrics();
    },
  };
}

/** Adds the metrics of the process itself, which are collected until it ends. */
export function collectProcess({ registry }: Metrics): void {
  collectDefaultMetrics({ register: registry });
}

/** What happens to events and executions, counted by the process that does it. */
function flowMetrics(registry: Registry) {
  const { counter, histogram } = makers(registry);
  return {
    events: counter("attune_events_total", "Events stored by this process."),
    enforcements: counter("attune_enforcements_total", "Enforcements created by this process."),
    requested: counter("attune_executions_requested_total", "Executions requested by this process."),
    retries: counter("attune_execution_retries_total", "Retries requested by this process, which are executions too."),
    ended: counter("attune_executions_ended_total", "Executions that this process ended, by status.", ["status"]),
    lost: counter("attune_executions_lost_total", "Attempts whose worker was lost, by what became of the execution.", [
      "becomes",
    ]),
    starts: counter(
      "attune_action_starts_total",
      'Starts of Python and Node.js actions: "warm" by an interpreter that had started before, or "cold".',
      ["runtime", "start"],
    ),
    webhooks: counter("attune_webhook_requests_total", "Requests to webhooks, by the status of the response.", [
      "status",
    ]),
    evaluation: histogram("attune_event_evaluation_seconds", "From the storage of an event to its evaluation."),
    queued: histogram("attune_execution_queue_seconds", "From scheduled to running, for each attempt."),
    ran: histogram("attune_execution_run_seconds", "From running to the end, for executions that have started."),
    answered: histogram(
      "attune_event_result_seconds",
      "From the storage of an event to the end of what its rules ran.",
    ),
  };
}

/** What the API does. */
function apiMetrics(registry: Registry) {
  const { counter, gauge } = makers(registry);
  return {
    operations: counter(
      "attune_graphql_operations_total",
      'GraphQL operations, by kind and outcome: "OK", or the code of the first error.',
      ["kind", "code"],
    ),
    subscriptions: gauge("attune_subscriptions", "Open subscriptions of this process."),
    sockets: gauge("attune_sockets", "Open WebSockets of this process."),
    feedLag: gauge("attune_feed_lag_seconds", "For how long an open transaction has been hiding committed changes."),
  };
}

/** What is so at the moment of the scrape. */
function stateMetrics(registry: Registry) {
  const { gauge } = makers(registry);
  return {
    build: gauge("attune_build_info", "1, with the versions and the kind of the database as labels.", [
      "version",
      "node_version",
      "database",
    ]),
    slots: gauge("attune_worker_slots", "Slots of this process's worker, by pool.", ["pool"]),
    slotsUsed: gauge("attune_worker_slots_used", "Slots in which this process's worker runs something.", ["pool"]),
    interpreters: gauge(
      "attune_worker_interpreters",
      "Interpreters that this process's worker keeps for later actions.",
      ["runtime"],
    ),
    interpreterBytes: gauge("attune_worker_interpreter_bytes", "The resident memory of these interpreters.", [
      "runtime",
    ]),
    diskFree: gauge("attune_disk_free_bytes", "Free space on the disk of the embedded database."),
    databaseUp: gauge("attune_database_up", "Whether the database responds in time."),
    connections: gauge(
      "attune_database_connections",
      "Connections of all processes to PostgreSQL, by state; ATTUNE__DATABASE__MAX_CONNECTIONS limits each process.",
      ["state"],
    ),
    databaseSize: gauge("attune_database_size_bytes", "The size of the embedded database, at most a minute old."),
    queueDepth: gauge("attune_queue_depth", "What waits in each queue, at most 10,000.", ["queue"]),
    queueAge: gauge("attune_queue_oldest_seconds", "For how long the first in each queue has waited.", ["queue"]),
    executions: gauge("attune_executions", "Executions that have not ended, by status, at most 10,000.", ["status"]),
    waiting: gauge("attune_executions_waiting", "Executions that wait, by what for, at most 10,000.", ["waits_for"]),
    workers: gauge("attune_workers", "Workers that send heartbeats."),
    sensors: gauge("attune_sensors", "Sensors by the status of their process; those that never ran are not counted.", [
      "status",
    ]),
  };
}

function makers(registry: Registry) {
  const registers = [registry];
  return {
    counter: <T extends string>(name: string, help: string, labelNames: T[] = []) =>
      new Counter<T>({ name, help, labelNames, registers }),
    gauge: <T extends string>(name: string, help: string, labelNames: T[] = []) =>
      new Gauge<T>({ name, help, labelNames, registers }),
    histogram: (name: string, help: string) => new Histogram({ name, help, buckets, registers }),
  };
}
