import { and, getColumns, inArray, or, type SQL, sql } from "drizzle-orm";
import { alias, type PgColumn, type PgTable } from "drizzle-orm/pg-core";
import { channels, readableChannels } from "../db/channels.ts";
import { packOf } from "../db/schema.ts";
import { artifact } from "../db/tables/artifact.ts";
import { event } from "../db/tables/event.ts";
import { execution } from "../db/tables/execution.ts";
import { pack } from "../db/tables/pack.ts";
import { policy } from "../db/tables/policy.ts";
import { rule } from "../db/tables/rule.ts";
import { trigger } from "../db/tables/trigger.ts";
import { type Constraints, meetsSql } from "./constraints.ts";
import { grantsFor, type Resource } from "./grants.ts";
import { identityOf, type Session } from "./session.ts";

/** The columns of a table in a query, under any alias. */
export type Columns = Readonly<Record<string, PgColumn>>;
type Expression = (table: Columns) => SQL;

/** A condition for rows, and disjoint conditions for the same rows, each comparing an indexed expression with one value. */
export interface Choice {
  all: Expression;
  each: readonly Expression[];
}

/** The SQL that the constraints of grants compare in a resource's rows; no row meets a constraint that is missing here. */
interface Expressions {
  ref?: Expression;
  pack?: Expression;
  /** Whether the row belongs to the identity with that id. */
  owner?: (identity: string) => Expression;
  /** Rows that need no grant. */
  always?: (session: Session) => readonly Choice[];
}

const column =
  (name: string): Expression =>
  (table) =>
    sql`${table[name]}`;
const dotted = (name = "ref"): Expressions => ({
  ref: column(name),
  pack: (table) => {
    const ref = table[name];
    return ref ? packOf(ref) : sql`null`;
  },
});
const isIdentity =
  (name: string) =>
  (identity: string): Expression =>
  (table) =>
    sql`${table[name]} = ${identity}::bigint`;
const unique = (texts: readonly string[]) => [...new Set(texts)];
const asChoice = (rows: Expression): Choice => ({ all: rows, each: [rows] });
const own =
  (name: string) =>
  (session: Session): readonly Choice[] => {
    const identity = identityOf(session);
    return identity === null ? [] : [asChoice(isIdentity(name)(identity))];
  };

const unlessNarrowed =
  (always: (session: Session) => readonly Choice[]) =>
  (session: Session): readonly Choice[] =>
    session.narrowed ? [] : always(session);

const expressions: Readonly<Record<Resource, Expressions>> = {
  pack: { ref: column("ref"), pack: column("ref") },
  runtime: dotted(),
  action: dotted(),
  trigger: dotted(),
  sensor: dotted(),
  rule: { ...dotted(), owner: isIdentity("ownerId") },
  event: dotted("triggerRef"),
  enforcement: dotted("ruleRef"),
  execution: { ...dotted("actionRef"), owner: isIdentity("executorId") },
  inquiry: {
    owner: isIdentity("assignedToId"),
    // Those assigned to the session's identity or roles, and those that its execution created.
    always: (session) => [
      ...assignedInquiries(session),
      ...(session.executionId === null
        ? []
        : [asChoice((table) => sql`${table["executionId"]} = ${String(session.executionId)}::bigint`)]),
    ],
  },
  identity: { ref: column("login"), owner: isIdentity("id"), always: own("id") },
  permission_set: dotted(),
  token: { owner: isIdentity("identityId"), always: unlessNarrowed(own("identityId")) },
  key: {
    ref: column("ref"),
    pack: (table) => sql`case when ${table["ownerType"]} = 'pack' then ${table["owner"]} end`,
    owner: isIdentity("ownerIdentityId"),
    always: unlessNarrowed(own("ownerIdentityId")),
  },
  artifact: {
    ref: column("ref"),
    owner: (identity) => (table) =>
      sql`${table["scope"]} = 'identity' and ${table["owner"]} = (select i.login from attune.identity i where i.id = ${identity}::bigint)`,
    always: () => [asChoice((table) => sql`${table["visibility"]} = 'public'`)],
  },
  notification: {},
  worker: { ref: column("name") },
  policy: dotted(),
  workflow_definition: dotted(),
  audit_event: { owner: isIdentity("actorId") },
  system: {},
  retention: {},
};

/** The resource of a table, by the table's plural name; that of groups is their policy's, that of runs of tests their pack's. Rows of other tables are readable wherever their parent is. */
export const resourceOfTable: Readonly<Record<string, Resource>> = {
  packs: "pack",
  runtimes: "runtime",
  actions: "action",
  triggers: "trigger",
  sensors: "sensor",
  rules: "rule",
  events: "event",
  enforcements: "enforcement",
  executions: "execution",
  inquiries: "inquiry",
  identities: "identity",
  permissionSets: "permission_set",
  tokens: "token",
  keys: "key",
  artifacts: "artifact",
  notifications: "notification",
  workers: "worker",
  policies: "policy",
  policyGroups: "policy",
  packTestExecutions: "pack",
  workflowDefinitions: "workflow_definition",
  auditEvents: "audit_event",
};

/**
 * The rows that are readable with their parents. Reading an execution does not imply reading the artifacts whose versions it wrote, and a slot is
 * readable with its execution, not with its policy.
 */
const parents: Readonly<Record<string, { resource: Resource; of: PgTable; key: string }>> = {
  artifactVersions: { resource: "artifact", of: artifact, key: "artifactId" },
  packTestExecutions: { resource: "pack", of: pack, key: "packId" },
  policyGroups: { resource: "policy", of: policy, key: "policyId" },
  ruleRevisions: { resource: "rule", of: rule, key: "ruleId" },
  policySlots: { resource: "execution", of: execution, key: "executionId" },
};

/**
 * Returns the condition for the rows of the table, by its plural name, that the session may read; null: no condition. A delivery of a webhook tells
 * what senders send: it is readable with the events of its trigger.
 */
export function readableRows(session: Session, table: string): Expression | null {
  if (table === "ruleEvaluations") return readableEvaluations(session);
  if (table === "ruleWindows") return readableWindows(session);
  if (table === "tokens") return readableTokens(session);
  const through = parents[table];
  if (through) return readableThrough(session, through);
  if (table === "webhookDeliveries") {
    const events = { resource: "event", of: trigger, key: "triggerId" } as const;
    return readableThrough(session, events, ({ ref }): Columns => (ref ? { triggerRef: ref } : {}));
  }
  const resource = resourceOfTable[table];
  return resource ? readable(session, resource) : null;
}

/** An evaluation quotes the event's payload and the rule's conditions: it is readable with both. */
function readableEvaluations(session: Session): Expression | null {
  const parts = [
    { name: "event", of: alias(event, "of_evaluation"), key: "eventId", filter: readable(session, "event") },
    { name: "rule", of: alias(rule, "of_evaluation"), key: "ruleId", filter: readable(session, "rule") },
  ].flatMap(({ filter, ...part }) => (filter ? [{ ...part, filter }] : []));
  if (parts.length === 0) return null;
  return (table) =>
    and(
      ...parts.map(({ name, of, key, filter }) => {
        const columns = getColumns(of) as Readonly<Record<string, PgColumn>>; // an alias has the columns of its table
        return sql`exists (select from attune.${sql.raw(name)} "of_evaluation" where ${columns["id"]} = ${table[key]} and ${filter(columns)})`;
      }),
    ) ?? sql`true`;
}

/** The keys of windows are made of events: they are readable with the rule and the events of its trigger. */
function readableWindows(session: Session): Expression | null {
  const [rules, events] = [readable(session, "rule"), readable(session, "event")];
  if (rules === null && events === null) return null;
  const parent: Columns = getColumns(alias(rule, "of_window"));
  const asEvent: Columns = parent["triggerRef"] ? { triggerRef: parent["triggerRef"] } : {};
  const conditions = and(rules?.(parent), events?.(asEvent));
  return (table) =>
    sql`exists (select from ${rule} "of_window" where ${parent["id"]} = ${table["ruleId"]} and ${conditions})`;
}

/** Returns the rows that are readable with their parent: the row of `of` whose id is in the column `key`. */
function readableThrough(
  session: Session,
  { resource, of, key }: { resource: Resource; of: PgTable; key: string },
  columnsOf: (parent: Columns) => Columns = (parent) => parent,
): Expression | null {
  const filter = readable(session, resource);
  if (!filter) return null;
  const parent: Columns = getColumns(alias(of, "of_parent"));
  return (table) =>
    sql`exists (select from ${of} "of_parent" where ${parent["id"]} = ${table[key]} and ${filter(columnsOf(parent))})`;
}

/** Only API tokens are readable; the others are internal. */
function readableTokens(session: Session): Expression {
  const filter = readable(session, "token");
  return (table) => and(sql`${table["kind"]} = 'api'`, filter?.(table)) ?? sql`false`;
}

/** Returns the condition for the rows of the resource that the session may read; null: all of them. */
export function readable(session: Session, resource: Resource): Expression | null {
  if (resource === "notification") return readableNotifications(session);
  return condition(session, resource, expressions[resource]);
}

function condition(session: Session, resource: Resource, { always, ...compared }: Expressions): Expression | null {
  const grants = grantsFor(session, resource, "read");
  if (grants.some(({ constraints }) => !constraints)) return null;
  const own = always?.(session) ?? [];
  return (table) =>
    or(
      ...grants.map(({ constraints }) => constrained(constraints ?? {}, compared, session, table)),
      ...own.map(({ all }) => all(table)),
    ) ?? sql`false`;
}

/**
 * Returns the rows of the table, by its plural name, that the session may read, as choices; none when it may read all rows, or nearly
 * all because a grant only excludes some.
 */
export function readableChoices(session: Session, table: string): readonly Choice[] {
  const resource = resourceOfTable[table];
  if (!resource || resource === "notification" || resource === "token" || table in parents) return [];
  const { always, ...compared } = expressions[resource];
  const granted = grantsFor(session, resource, "read").map(({ constraints = {} }): Choice | null => {
    const narrowed = (by: Constraints): Expression => {
      return (rows) => constrained({ ...constraints, ...by }, compared, session, rows);
    };
    const { refs, owner, pack_refs } = constraints;
    const isMet = (!refs || compared.ref) && (!owner || compared.owner) && (!pack_refs || compared.pack);
    if (!isMet) return { all: () => sql`false`, each: [] };
    if (refs) return { all: narrowed({}), each: unique(refs).map((ref) => narrowed({ refs: [ref] })) };
    if (owner) return asChoice(narrowed({}));
    if (pack_refs) return { all: narrowed({}), each: unique(pack_refs).map((pack) => narrowed({ pack_refs: [pack] })) };
    return null;
  });
  return granted.includes(null) ? [] : [...granted.filter((choice) => choice !== null), ...(always?.(session) ?? [])];
}

/** Returns the inquiries that are assigned to the session's identity or to one of its roles. */
export function assignedInquiries(session: Session): readonly Choice[] {
  const { roles } = session;
  const inRoles = (among: readonly string[]): Expression => {
    return ({ assignedRole }) => (assignedRole ? inArray(assignedRole, [...among]) : sql`false`);
  };
  return [
    ...own("assignedToId")(session),
    ...(roles.length > 0 ? [{ all: inRoles(roles), each: unique(roles).map((role) => inRoles([role])) }] : []),
  ];
}

function constrained(constraints: Constraints, compared: Expressions, session: Session, table: Columns): SQL {
  const { ref, pack, owner } = compared;
  const rows = { ref: ref?.(table), packRef: pack?.(table), isOwnedBy: owner && ((id: string) => owner(id)(table)) };
  return meetsSql(constraints, rows, session);
}

/** An entry of the notification log is readable when its entity is; the entry's own content decides. */
function readableNotifications(session: Session): Expression | null {
  const text =
    (field: string): Expression =>
    (table) =>
      sql`${table["content"]} ->> ${field}`;
  const parts = readableChannels.map((channel) => {
    const { ref, owner, pack } = channels[channel];
    const readable = condition(session, channel, {
      ...(ref ? { ref: text(ref) } : {}),
      ...(pack ? { pack: column("packRef") } : {}),
      ...(owner ? { owner: (id) => (table) => sql`(${text(owner)(table)})::bigint = ${id}::bigint` } : {}),
    });
    return { channel, readable };
  });
  const everything = grantsFor(session, "notification", "read").some(({ constraints }) => !constraints);
  if (everything && parts.every(({ readable }) => readable === null)) return null;
  return (table) =>
    or(
      ...parts.map(({ channel, readable }) =>
        and(sql`${table["channel"]} = ${channel}`, readable === null ? undefined : readable(table)),
      ),
    ) ?? sql`false`;
}
