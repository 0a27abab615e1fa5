import { and, getColumns, or, type SQL, sql } from "drizzle-orm";
import { alias, type PgColumn } from "drizzle-orm/pg-core";
import { channels, readableChannels } from "../db/channels.ts";
import { artifact } from "../db/tables/artifact.ts";
import { type Constraints, meetsSql, type TargetSql } from "./constraints.ts";
import { grantsFor, type Resource } from "./grants.ts";
import type { Session } from "./session.ts";

/** A table as a query sees it, under whatever alias. */
export type Columns = Readonly<Record<string, PgColumn>>;
type Expression = (table: Columns) => SQL;

/** How a resource's rows answer a grant's constraints in SQL; what is missing, no row of it can answer. */
interface Answers {
  ref?: Expression;
  pack?: Expression;
  owner?: Expression;
  /** Rows that may be read without a grant. */
  always?: (session: Session) => Expression | null;
}

const column =
  (name: string): Expression =>
  (table) =>
    sql`${table[name]}`;
const packOf =
  (name: string): Expression =>
  (table) =>
    sql`split_part(${table[name]}, '.', 1)`;
const dotted = (name = "ref"): Answers => ({ ref: column(name), pack: packOf(name) });
const own =
  (name: string) =>
  ({ identityId }: Session): Expression | null =>
    identityId === null ? null : (table) => sql`${table[name]} = ${String(identityId)}::bigint`;

const unlessNarrowed =
  (always: (session: Session) => Expression | null) =>
  (session: Session): Expression | null =>
    session.narrowed ? null : always(session);

const answers: Readonly<Record<Resource, Answers>> = {
  pack: { ref: column("ref"), pack: column("ref") },
  runtime: dotted(),
  action: dotted(),
  trigger: dotted(),
  sensor: dotted(),
  rule: { ...dotted(), owner: column("ownerId") },
  event: dotted("triggerRef"),
  enforcement: dotted("ruleRef"),
  execution: { ...dotted("actionRef"), owner: column("executorId") },
  inquiry: {
    owner: column("assignedToId"),
    // To whoever it is assigned to, and to the execution that asked.
    always:
      ({ identityId, roles, executionId }) =>
      (table) =>
        or(
          identityId === null ? undefined : sql`${table["assignedToId"]} = ${String(identityId)}::bigint`,
          roles.length > 0 ? sql`${table["assignedRole"]} in ${roles}` : undefined,
          executionId === null ? undefined : sql`${table["executionId"]} = ${String(executionId)}::bigint`,
        ) ?? sql`false`,
  },
  identity: { ref: column("login"), owner: column("id"), always: own("id") },
  permission_set: dotted(),
  token: { owner: column("identityId"), always: unlessNarrowed(own("identityId")) },
  key: {
    ref: column("ref"),
    pack: (table) => sql`case when ${table["ownerType"]} = 'pack' then ${table["owner"]} end`,
    owner: column("ownerIdentityId"),
    always: unlessNarrowed(own("ownerIdentityId")),
  },
  artifact: {
    ref: column("ref"),
    owner: (table) =>
      sql`case when ${table["scope"]} = 'identity' then (select i.id from attune.identity i where i.login = ${table["owner"]}) end`,
    always: () => (table) => sql`${table["visibility"]} = 'public'`,
  },
  notification: {},
  worker: { ref: column("name") },
  policy: dotted(),
  workflow_definition: dotted(),
  audit_event: { owner: column("actorId") },
};

/** The resource that the rows of a table are, by the table's plural name; others are parts of what they are reached from. */
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
  workflowDefinitions: "workflow_definition",
  auditEvents: "audit_event",
};

/** Which rows of the table, by its plural name, the session may read; null: all of them, or parts of what they are reached from. */
export function readableRows(session: Session, table: string): Expression | null {
  if (table === "artifactVersions") return readableVersions(session);
  if (table === "tokens") return readableTokens(session);
  const resource = resourceOfTable[table];
  return resource ? readable(session, resource) : null;
}

/** Of the tokens only those that people make: the others are nobody's to look at. */
function readableTokens(session: Session): Expression {
  const filter = readable(session, "token");
  return (table) => and(sql`${table["kind"]} = 'api'`, filter?.(table)) ?? sql`false`;
}

/** An execution's versions may be of artifacts that not everybody who reads the execution may read. */
function readableVersions(session: Session): Expression | null {
  const filter = readable(session, "artifact");
  if (!filter) return null;
  const of = alias(artifact, "of_version");
  const columns = getColumns(of) as Readonly<Record<string, PgColumn>>; // an alias has the columns of its table
  return (table) =>
    sql`exists (select from attune.artifact "of_version" where ${of.id} = ${table["artifactId"]} and ${filter(columns)})`;
}

/** Which rows of the resource the session may read, as a condition; null: all of them. */
export function readable(session: Session, resource: Resource): Expression | null {
  if (resource === "notification") return readableNotifications(session);
  return condition(session, resource, answers[resource]);
}

function condition(session: Session, resource: Resource, { always, ...answer }: Answers): Expression | null {
  const grants = grantsFor(session, resource, "read");
  if (grants.some(({ constraints }) => !constraints)) return null;
  const own = always?.(session);
  return (table) =>
    or(
      ...grants.map(({ constraints }) => constrained(constraints ?? {}, answer, session, table)),
      own ? own(table) : undefined,
    ) ?? sql`false`;
}

function constrained(constraints: Constraints, answer: Answers, session: Session, table: Columns): SQL {
  const owner = answer.owner?.(table);
  const rows: TargetSql = {
    ref: answer.ref?.(table),
    packRef: answer.pack?.(table),
    isOwnedBy: owner && ((identity) => sql`${owner} = ${identity}::bigint`),
  };
  return meetsSql(constraints, rows, session);
}

/** An entry of the notification log is readable where its entity is: decided by what the entry itself holds. */
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
      ...(owner ? { owner: (table) => sql`(${text(owner)(table)})::bigint` } : {}),
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
