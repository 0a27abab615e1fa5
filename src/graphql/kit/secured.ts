import { and, type SQL } from "drizzle-orm";
import { type Columns, readableRows } from "../../access/resource.ts";
import type { Session } from "../../access/session.ts";
import type { Db } from "../../db/client.ts";
import { relations } from "../../db/relations.ts";

/** The options of a relational query that select rows. */
interface Selection {
  where?: object | undefined;
  with?: Record<string, unknown> | undefined;
}
/** Returns the reading session. Called for each query, since the grants of a session can change during a stream. */
type Reader = () => Session | null;
type Condition = (table: Columns) => SQL;

/** Conditions that already contain the session's filter. */
const complete = new WeakSet<object>();

/** Returns the condition limited to the rows of the table that the session may read. */
export function onlyReadable(session: Session | null, table: string, condition: Condition): Condition {
  const filter = filterOf(session, table);
  return filter ? (aliased) => and(condition(aliased), filter(aliased)) ?? condition(aliased) : condition;
}

/** Marks a condition of a list's page as complete: it contains the session's filter and the page's cursors. */
export function asComplete<T extends (row: never) => SQL>(condition: T): T {
  complete.add(condition);
  return condition;
}

function filterOf(session: Session | null, table: string): Condition | null {
  // Tables are read only with a session; public fields read none.
  if (session === null) throw new Error(`${table} cannot be read without a session`);
  return readableRows(session, table);
}

function secure(session: Reader, table: string, selection: Selection, own: boolean): Selection {
  const filter = own ? null : filterOf(session(), table);
  const given = completeIn(selection.where);
  const where = given ?? (filter ? { AND: [selection.where ?? {}, { RAW: filter }] } : null);
  return {
    ...selection,
    ...(where ? { where } : {}),
    ...(selection.with ? { with: secureAll(session, table, selection.with) } : {}),
  };
}

/**
 * Returns the complete condition among those of a query. The drizzle plugin adds the cursors again, as
 * `a < x or (a = x and b < y)`, which misleads PostgreSQL's planner: it expects few rows and sorts them instead of using an
 * index that returns them in order.
 */
function completeIn(where: object | undefined): object | null {
  if (where === undefined) return null;
  const conditions = "AND" in where && Array.isArray(where.AND) ? (where.AND as object[]) : [where];
  return conditions.find((each) => "RAW" in each && complete.has(each.RAW as object)) ?? null;
}

function secureAll(session: Reader, table: string, wanted: Record<string, unknown>): Record<string, unknown> {
  const known = relations[table as keyof typeof relations].relations as Record<string, { targetTableName: string }>;
  return Object.fromEntries(
    Object.entries(wanted).map(([name, selection]) => {
      const target = known[name]?.targetTableName;
      if (!target || !selection) return [name, selection];
      return [name, secure(session, target, typeof selection === "object" ? selection : {}, false)];
    }),
  );
}

/**
 * Returns the database limited to what the session may read: relational queries find only rows that the session's grants allow,
 * at every level of their selections. With `own`, the topmost rows are not limited: for what a mutation has just written.
 */
export function securedDb(db: Db, session: Reader, { own = false }: { own?: boolean } = {}): Db {
  const query = new Proxy(db.query, {
    get: (queries, table: string) => {
      const of = queries[table as keyof typeof queries];
      if (typeof table !== "string" || of === undefined) return of;
      const secured = (selection: Selection | undefined) => secure(session, table, selection ?? {}, own);
      // The code is the same for every table: it is typed as if all were packs.
      const typed = of as (typeof queries)["packs"];
      return {
        findMany: (selection?: Selection) => typed.findMany(secured(selection) as never),
        findFirst: (selection?: Selection) => typed.findFirst(secured(selection) as never),
      };
    },
  });
  return new Proxy(db, { get: (target, key) => (key === "query" ? query : Reflect.get(target, key)) });
}
