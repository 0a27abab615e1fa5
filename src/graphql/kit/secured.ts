import { and, type SQL } from "drizzle-orm";
import { type Columns, readableRows } from "../../access/resource.ts";
import type { Session } from "../../access/session.ts";
import type { Db } from "../../db/client.ts";
import { relations } from "../../db/relations.ts";

/** A relational query's options, as far as rows are concerned. */
interface Selection {
  where?: object | undefined;
  with?: Record<string, unknown> | undefined;
}
/** Who reads: asked at each query, for a stream outlives changes of what its session may do. */
type Reader = () => Session | null;
type Condition = (table: Columns) => SQL;

/** Conditions that nothing needs to be added to. */
const complete = new WeakSet<object>();

/** The condition together with what the session may read of the table. */
export function onlyReadable(session: Session | null, table: string, condition: Condition): Condition {
  const filter = filterOf(session, table);
  return filter ? (aliased) => and(condition(aliased), filter(aliased)) ?? condition(aliased) : condition;
}

/** Marks the condition of a list's page, which holds the reader's filter and the page's cursors. */
export function asComplete<T extends (row: never) => SQL>(condition: T): T {
  complete.add(condition);
  return condition;
}

function filterOf(session: Session | null, table: string): Condition | null {
  // Nobody reads without a session; what is public reads no table.
  if (session === null) throw new Error(`${table} were to be read without a session`);
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
 * The complete condition among those of a query. The drizzle plugin adds the cursors to it, as `a < x or (a = x and b < y)`: twice the
 * same misleads PostgreSQL's planner, which expects few rows then and sorts what an index would have given in order.
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
 * The database as the session may read it: each relational query, at every level of its selection, finds only rows that the
 * session's grants let it read. With `own`, the topmost rows are found in any case: what a mutation has just written.
 */
export function securedDb(db: Db, session: Reader, { own = false }: { own?: boolean } = {}): Db {
  const query = new Proxy(db.query, {
    get: (queries, table: string) => {
      const of = queries[table as keyof typeof queries];
      if (typeof table !== "string" || of === undefined) return of;
      const secured = (selection: Selection | undefined) => secure(session, table, selection ?? {}, own);
      // The same for every table, and so typed as if all were packs.
      const typed = of as (typeof queries)["packs"];
      return {
        findMany: (selection?: Selection) => typed.findMany(secured(selection) as never),
        findFirst: (selection?: Selection) => typed.findFirst(secured(selection) as never),
      };
    },
  });
  return new Proxy(db, { get: (target, key) => (key === "query" ? query : Reflect.get(target, key)) });
}
