import { type SQL, sql } from "drizzle-orm";
import { longestTolerance, timedSchemes } from "../catalog/signature-form.ts";
import type { RetentionName } from "../lib/retention.ts";

/** The times before which rows count as old, as SQL, by their rules. */
export type Cutoffs = Readonly<Record<RetentionName, SQL>>;

/** Which rows of a table are deleted when they are old. */
export interface Rule {
  table: string;
  /** SQL: whether the row `t`, which was created before its cutoff, is no longer needed. It is the same before and after other rules applied. */
  isDone(cutoffs: Cutoffs): SQL;
  /** Whether `purge` cannot shorten the configured period. */
  isFixed?: boolean;
  /** The number of rows that are looked at in one batch. */
  batch: number;
  /** What the rule deletes. */
  description: string;
}

const always = () => sql`true`;

/** SQL: whether the execution is kept: it has not ended before the cutoff. */
const keeps = (alias: string, { executions }: Cutoffs) =>
  sql`(${sql.raw(`${alias}.finished_at is null or ${alias}.finished_at`)} >= ${executions})`;

/** SQL: whether the delivery was signed and has the id by which it is known when it is sent again. */
const isIdNeeded = sql`(t.hmac_verified and t.delivery_id is not null)`;
/** SQL: whether its webhook refuses a request whose signed time is far away. */
const hasSignedTime = sql`exists (select from attune.trigger g where g.id = t.trigger
  and (g.webhook_config #>> '{hmac,scheme}' = any (${`{${timedSchemes.join(",")}}`}::text[]) or g.webhook_config #>> '{hmac,timestamp_header}' is not null))`;
/** SQL: how long a signed time can be accepted: it may be ahead of this server's, and then behind. */
const longestReplay = sql`make_interval(secs => ${2 * longestTolerance}::int)`;

/** The rules in their order: rows that refer to others come before them. */
export const rules: Readonly<Record<RetentionName, Rule>> = {
  notifications: {
    table: "notification",
    isDone: always,
    batch: 5000,
    description: "Entries of the notification log. Older cursors of subscriptions expire.",
  },
  evaluations: {
    table: "rule_evaluation",
    // Until its event is evaluated, it marks a try that may have ended the process; later its window may have to decide about it.
    isDone: () =>
      sql`not t.pending and exists (select from attune.event e where e.id = t.event and e.evaluated_at is not null)`,
    batch: 2000,
    description: "Rules' evaluations of events.",
  },
  logs: {
    table: "execution_log",
    isDone: ({ logs }) =>
      sql`exists (select from attune.execution e where e.id = t.execution and e.finished_at < ${logs})`,
    batch: 2000,
    description: "The output of executions that ended before.",
  },
  sensor_logs: {
    table: "sensor_log",
    isDone: always,
    batch: 2000,
    description: "The logs of sensors, of which the newest 10,000 entries each are kept at most.",
  },
  executions: {
    table: "execution",
    // A part stays with its root, a parent with its children, an attempt with its retries. A started slot still counts for a rate.
    isDone: (cutoffs) => sql`not ${keeps("t", cutoffs)}
      and not exists (select from attune.execution r where r.id = t.root and ${keeps("r", cutoffs)})
      and not exists (select from attune.execution c where c.root = t.id and ${keeps("c", cutoffs)})
      and not exists (select from attune.execution c where c.parent = t.id and ${keeps("c", cutoffs)})
      and not exists (select from attune.execution c where c.retry_of = t.id and ${keeps("c", cutoffs)})
      and not exists (select from attune.policy_slot s where s.execution = t.id)`,
    batch: 500,
    description: "Executions that ended before, with their timelines, logs and inquiries.",
  },
  enforcements: {
    table: "enforcement",
    isDone: (cutoffs) => sql`t.status <> 'created'
      and not exists (select from attune.execution x where x.enforcement = t.id and ${keeps("x", cutoffs)})`,
    batch: 500,
    description: "Enforcements without an execution that is kept.",
  },
  events: {
    table: "event",
    isDone: (cutoffs) => sql`t.evaluated_at is not null
      and not exists (select from attune.enforcement f where f.event = t.id and f.status = 'created')
      and not exists (select from attune.rule_window w where w.event = t.id and w.due_at is not null)
      and not exists (select from attune.enforcement f join attune.execution x on x.enforcement = f.id
        where f.event = t.id and ${keeps("x", cutoffs)})`,
    batch: 500,
    description: "Evaluated events without an execution that is kept, with their evaluations.",
  },
  inquiries: {
    table: "inquiry",
    isDone: ({ inquiries }) => sql`t.execution is null and t.status <> 'pending' and t.updated < ${inquiries}`,
    batch: 1000,
    description: "Inquiries without an execution that ended before; the others go with their executions.",
  },
  deliveries: {
    table: "webhook_delivery",
    // A captured request is refused by its time only when that is far enough away, however far the webhook will let it be then.
    isDone: () => sql`(${isIdNeeded} is not true or ${hasSignedTime} and t.created < now() - ${longestReplay})`,
    batch: 5000,
    description: "Requests to webhooks, except signed ones that only their id shows to be repeated.",
  },
  delivery_ids: {
    table: "webhook_delivery",
    isDone: () => sql`(${isIdNeeded} and not ${hasSignedTime})`,
    isFixed: true,
    batch: 5000,
    description:
      "Signed requests to webhooks without a signed time, which only their id shows to be repeated. `purge` removes none that the setting keeps.",
  },
  pack_tests: {
    table: "pack_test_execution",
    isDone: () =>
      sql`exists (select from attune.pack_test_execution n where n.pack_id = t.pack_id and n.execution_time > t.execution_time)`,
    batch: 1000,
    description: "Runs of packs' tests, except the newest of each pack.",
  },
  audit: {
    table: "audit_event",
    isDone: always,
    isFixed: true,
    batch: 2000,
    description: "Entries of the audit trail. `purge` removes none that the setting keeps.",
  },
  idempotency_keys: {
    table: "idempotency_key",
    isDone: always,
    isFixed: true,
    batch: 2000,
    description: "Idempotency keys. `purge` removes none that the setting keeps.",
  },
  tokens: {
    table: "token",
    isDone: ({ tokens }) => sql`t.kind <> 'api' and coalesce(t.revoked_at, t.expires_at) < ${tokens}`,
    batch: 2000,
    description: "Credentials that ended before, except API tokens, which users look up.",
  },
  workers: {
    table: "worker",
    isDone: (cutoffs) => sql`coalesce(t.last_heartbeat, t.created) < ${cutoffs.workers}
      and not exists (select from attune.execution x where x.worker = t.id and ${keeps("x", cutoffs)})`,
    batch: 100,
    description: "Workers without a heartbeat since then, and without an execution that is kept.",
  },
};

/** The names of the rules in their order. */
export const ruleNames = Object.keys(rules) as RetentionName[]; // its keys
