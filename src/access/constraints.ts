import { and, inArray, type SQL, sql } from "drizzle-orm";
import { z } from "zod";
import type { Session } from "./session.ts";

/** Returns the schema of a grant's constraints, whose lists have the given schema. Unknown constraints are refused. */
export const constraintsOf = (refs: z.ZodType<string[]>) =>
  z.strictObject({
    pack_refs: refs.optional(),
    refs: refs.optional(),
    except_refs: refs.optional(),
    /** Only rows that belong to the identity that holds the grant. */
    owner: z.literal("self").optional(),
  });

/** A grant applies to the rows that meet all of these. */
export type Constraints = z.infer<ReturnType<typeof constraintsOf>>;

/** The values of one row that constraints compare; null or missing: the row has no such value. */
export interface Target {
  ref?: string | null;
  packRef?: string | null;
  ownerId?: bigint | null;
}

/** The same values as SQL over the rows of a table; missing: no row has such a value. */
export interface TargetSql {
  ref?: SQL | undefined;
  packRef?: SQL | undefined;
  /** Whether the row belongs to the identity with that id. */
  isOwnedBy?: ((identity: string) => SQL) | undefined;
}

/** A constraint as SQL, for lists, and in memory, for verbs and streams. `test` and `sql` select the same rows. */
interface Constraint<V> {
  sql(rows: TargetSql, value: V, session: Session): SQL;
  test(row: Target, value: V, session: Session): boolean;
  /** Whether every row that meets `others` meets this one too. */
  follows(value: V, others: Constraints): boolean;
}

type Name = keyof Constraints;
type Values = { [K in Name]: NonNullable<Constraints[K]> };

const among = (value: string | null | undefined, list: readonly string[]) =>
  typeof value === "string" && list.includes(value);

/** Every constraint that grants may have. A row without the value that a constraint compares meets only `except_refs`. */
const constraints: { readonly [K in Name]: Constraint<Values[K]> } = {
  pack_refs: {
    sql: ({ packRef }, packs) => (packRef ? inArray(packRef, packs) : sql`false`),
    test: ({ packRef }, packs) => among(packRef, packs),
    follows: (packs, { pack_refs }) => pack_refs?.every((pack) => packs.includes(pack)) === true,
  },
  refs: {
    sql: ({ ref }, refs) => (ref ? inArray(ref, refs) : sql`false`),
    test: ({ ref }, refs) => among(ref, refs),
    follows: (refs, others) => others.refs?.every((ref) => refs.includes(ref)) === true,
  },
  except_refs: {
    sql: ({ ref }, refs) => (ref ? sql`(${inArray(ref, refs)}) is not true` : sql`true`),
    test: ({ ref }, refs) => !among(ref, refs),
    follows: (excepted, { except_refs, refs }) =>
      excepted.every((ref) => except_refs?.includes(ref) || (refs !== undefined && !refs.includes(ref))),
  },
  owner: {
    sql: ({ isOwnedBy }, _self, { identityId }) =>
      isOwnedBy && identityId !== null ? isOwnedBy(String(identityId)) : sql`false`,
    test: ({ ownerId }, _self, { identityId }) => identityId !== null && ownerId === identityId,
    follows: (_self, { owner }) => owner === "self",
  },
};

const names = Object.keys(constraints) as Name[];

/** Returns the constraint with that name and its value; null if it is not set. */
function given<K extends Name>(
  all: Constraints,
  name: K,
): { constraint: Constraint<Values[K]>; value: Values[K] } | null {
  const value = all[name] as Values[K] | undefined;
  return value === undefined ? null : { constraint: constraints[name], value };
}

/** Returns a SQL condition for the rows that meet all of the constraints. */
export function meetsSql(all: Constraints, rows: TargetSql, session: Session): SQL {
  const part = <K extends Name>(name: K) => {
    const one = given(all, name);
    return one?.constraint.sql(rows, one.value, session);
  };
  return and(...names.map((name) => part(name))) ?? sql`true`;
}

/** Returns whether the row meets all of the constraints. */
export function meets(all: Constraints, row: Target, session: Session): boolean {
  const part = <K extends Name>(name: K) => {
    const one = given(all, name);
    return one === null || one.constraint.test(row, one.value, session);
  };
  return names.every((name) => part(name));
}

/** Returns whether every row that meets all of `narrow` also meets all of `wide`. */
export function isWider(wide: Constraints, narrow: Constraints): boolean {
  const part = <K extends Name>(name: K) => {
    const one = given(wide, name);
    return one === null || one.constraint.follows(one.value, narrow);
  };
  return names.every((name) => part(name));
}
