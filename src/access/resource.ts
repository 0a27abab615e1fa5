import { and, getColumns, inArray, or, type SQL, sql } from "drizzle-orm";
import { alias, type PgColumn } from "drizzle-orm/pg-core";
import { channels, readableChannels } from "../db/channels.ts";
import { packOf } from "../db/schema.ts";
import { artifact } from "../db/tables/artifact.ts";
import { type Constraints, meetsSql } from "./constraints.ts";
import { grantsFor, type Resource } from "./grants.ts";
import { identityOf, type Session } from "./session.ts";

/** A table as a query sees it, under whatever alias. */
export type Columns = Readonly<Record<string, PgColumn>>;
type Expression = (table: Columns) => SQL;

/** Rows as a condition, and the same rows in parts, none of which shares a row with another: each is one value of an indexed expression. */
export interface Choice {
  all: Expression;
  each: readonly Expression[];
}

/** How the constraints of grants read as SQL over a resource's rows; no row meets a constraint that is missing here. */
interface Answers {
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
const dotted = (name = "ref"): Answers => ({
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

const answers: Readonly<Record<Resource, Answers>> = {
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
    // The identity or the role that it is assigned to, and the execution that asked.
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
  const own = always?.(session) ?? [];
  return (table) =>
    or(
      ...grants.map(({ constraints }) => constrained(constraints ?? {}, answer, session, table)),
      ...own.map(({ all }) => all(table)),
    ) ?? sql`false`;
}

/**
 * The rows of the table, by its plural name, that the session may read, as choices; none where it may read all, or where a
 * grant only excludes some: then the rows are nearly all of them.
 */
export function readableChoices(session: Session, table: string): readonly Choice[] {
  const resource = resourceOfTable[table];
  if (!resource || resource === "notification" || resource === "token") return [];
  const { always, ...answer } = answers[resource];
  const granted = grantsFor(session, resource, "read").map(({ constraints = {} }): Choice | null => {
    const narrowed = (by: Constraints): Expression => {
      return (rows) => constrained({ ...constraints, ...by }, answer, session, rows);
    };
    const { refs, owner, pack_refs } = constraints;
    const isMet = (!refs || answer.ref) && (!owner || answer.owner) && (!pack_refs || answer.pack);
    if (!isMet) return { all: () => sql`false`, each: [] };
    if (refs) return { all: narrowed({}), each: unique(refs).map((ref) => narrowed({ refs: [ref] })) };
    if (owner) return asChoice(narrowed({}));
    if (pack_refs) return { all: narrowed({}), each: unique(pack_refs).map((pack) => narrowed({ pack_refs: [pack] })) };
    return null;
  });
  return granted.includes(null) ? [] : [...granted.filter((choice) => choice !== null), ...(always?.(session) ?? [])];
}

/** The inquiries that are assigned to the session's identity or to one of its roles. */
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

function constrained(constraints: Constraints, answer: Answers, session: Session, table: Columns): SQL {
  const { ref, pack, owner } = answer;
  const rows = { ref: ref?.(table), packRef: pack?.(table), isOwnedBy: owner && ((id: string) => owner(id)(table)) };
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
