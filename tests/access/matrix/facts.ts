import { type SQL, sql } from "drizzle-orm";
import { type Db, rows } from "../../../src/db/client.ts";
import type { Facts } from "./roles.ts";

/** How the facts of a type's rows are read: SQL over `t`, a row of its table. A missing expression is null, or false. */
interface Spec {
  table: string;
  resource: string;
  ref?: string;
  pack?: string;
  owner?: string;
  always?: string;
  from?: string;
  /** The part of the list that is compared, where it grows while it is read. */
  where?: string;
}

const first = (column: string) => `split_part(${column}, '.', 1)`;
const dotted = (table: string, column = "t.ref"): Spec => ({
  table,
  resource: table,
  ref: column,
  pack: first(column),
});
const artifactOwner =
  "case when a.scope = 'identity' then (select i.id from attune.identity i where i.login = a.owner) end";

/** Every type with an id. `{me}` is the calling identity, `{roles}` are its roles. */
export const specs: Readonly<Record<string, Spec>> = {
  Pack: { table: "pack", resource: "pack", ref: "t.ref", pack: "t.ref" },
  Runtime: dotted("runtime"),
  Action: dotted("action"),
  Trigger: dotted("trigger"),
  Sensor: dotted("sensor"),
  Rule: { ...dotted("rule"), owner: "t.owner" },
  Policy: dotted("policy"),
  PolicyGroup: {
    ...dotted("policy", "p.ref"),
    table: "policy_group",
    from: "attune.policy_group t join attune.policy p on p.id = t.policy",
  },
  PackTestExecution: {
    table: "pack_test_execution",
    resource: "pack",
    ref: "p.ref",
    pack: "p.ref",
    from: "attune.pack_test_execution t join attune.pack p on p.id = t.pack_id",
  },
  WorkflowDefinition: dotted("workflow_definition"),
  PermissionSet: dotted("permission_set"),
  Event: dotted("event", "t.trigger_ref"),
  Enforcement: dotted("enforcement", "t.rule_ref"),
  Execution: { ...dotted("execution", "t.action_ref"), owner: "t.executor" },
  Inquiry: {
    table: "inquiry",
    resource: "inquiry",
    owner: "t.assigned_to",
    always: "t.assigned_to = {me} or t.assigned_role in ({roles})",
  },
  Identity: { table: "identity", resource: "identity", ref: "t.login", owner: "t.id", always: "t.id = {me}" },
  ApiToken: { table: "token", resource: "token", owner: "t.identity", always: "t.identity = {me}" },
  Key: {
    table: "key",
    resource: "key",
    ref: "t.ref",
    pack: "case when t.owner_type = 'pack' then t.owner end",
    owner: "t.owner_identity",
    always: "t.owner_identity = {me}",
  },
  Artifact: {
    table: "artifact",
    resource: "artifact",
    from: "attune.artifact t, lateral (select t.*) a",
    ref: "t.ref",
    owner: artifactOwner,
    always: "t.visibility = 'public'",
  },
  ArtifactVersion: {
    table: "artifact_version",
    resource: "artifact",
    from: "attune.artifact_version t join attune.artifact a on a.id = t.artifact",
    ref: "a.ref",
    owner: artifactOwner,
    always: "a.visibility = 'public'",
  },
  Worker: { table: "worker", resource: "worker", ref: "t.name" },
  AuditEvent: {
    table: "audit_event",
    resource: "audit_event",
    owner: "t.actor",
    where: 'created: {lt: "2026-02-01T00:00:00Z"}',
  },
};

/** Returns the facts of every row of the type. */
export async function factsOf(db: Db, typename: string, me: string, roles: readonly string[]): Promise<Facts[]> {
  const spec = specs[typename];
  if (!spec) throw new Error(`${typename} has no facts: add it to tests/access/matrix/facts.ts`);
  const { table, ref = "null", pack = "null", owner = "null", always = "false", from = `attune.${table} t` } = spec;
  const filled = always.replaceAll("{me}", me).replace("{roles}", roles.map((role) => `'${role}'`).join());
  return await rows<Facts>(
    db,
    sql.raw(`select t.id::text as "id", (${ref})::text as "ref", (${pack})::text as "pack", (${owner})::text as "owner",
      coalesce(${filled}, false) as "always" from ${from} order by t.id`),
  );
}

/** The facts of an entry of the notification log, and its channel. */
export interface Notice extends Facts {
  channel: string;
}

const ofEntity = (table: string, column: string, of = "entity") =>
  `(select x.${column} from attune.${table} x where x.id = n.${of})`;
const askingExecution =
  "(select x.action_ref from attune.inquiry q join attune.execution x on x.id = q.execution where q.id = n.entity)";

/** By channel. An entry has fewer facts than its entity: no owner of a rule, a key, a token or an artifact. */
const notices: Readonly<Record<string, Omit<Spec, "table" | "resource">>> = {
  execution: {
    ref: ofEntity("execution", "action_ref"),
    pack: first(ofEntity("execution", "action_ref")),
    owner: ofEntity("execution", "executor"),
  },
  event: { ref: ofEntity("event", "trigger_ref"), pack: first(ofEntity("event", "trigger_ref")) },
  enforcement: { ref: ofEntity("enforcement", "rule_ref"), pack: first(ofEntity("enforcement", "rule_ref")) },
  inquiry: {
    ref: askingExecution,
    pack: first(askingExecution),
    owner: ofEntity("inquiry", "assigned_to"),
    always: `${ofEntity("inquiry", "assigned_to")} = {me} or ${ofEntity("inquiry", "assigned_role")} in ({roles})`,
  },
  worker: { ref: ofEntity("worker", "name") },
  ...Object.fromEntries(
    ["rule", "action", "trigger", "sensor", "runtime", "workflow_definition", "permission_set"].map((table) => [
      table,
      { ref: ofEntity(table, "ref"), pack: ofEntity(table, "pack_ref") },
    ]),
  ),
  policy: {
    ref: ofEntity("policy", "ref"),
    pack: `(select coalesce(a.pack_ref, p.ref) from attune.policy x left join attune.action a on a.id = x.action
      left join attune.pack p on p.id = x.pack where x.id = n.entity)`,
  },
  identity: { ref: ofEntity("identity", "login") },
  pack: { ref: ofEntity("pack", "ref"), pack: ofEntity("pack", "ref") },
  key: { ref: ofEntity("key", "ref") },
  artifact: { ref: ofEntity("artifact", "ref") },
  token: {},
};

/** Returns every entry of the log with its facts, except those of channels that no grant covers. */
export async function findNotices(db: Db, me: string, roles: readonly string[]): Promise<Notice[]> {
  const parts = Object.entries(notices).map(
    ([channel, { ref = "null", pack = "null", owner = "null", always = "false" }]) => {
      const filled = always.replaceAll("{me}", me).replaceAll("{roles}", roles.map((role) => `'${role}'`).join());
      return `select n.id::text as "id", n.channel as "channel", (${ref})::text as "ref", (${pack})::text as "pack", (${owner})::text as "owner",
      coalesce(${filled}, false) as "always" from attune.notification n where n.channel = '${channel}'`;
    },
  );
  const found: SQL = sql.raw(parts.join("\nunion all "));
  return await rows<Notice>(db, found);
}
