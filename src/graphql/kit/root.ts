import { resourceOfTable } from "../../access/resource.ts";
import type { tables } from "../../db/tables.ts";
import { builder } from "./builder.ts";
import { readId } from "./ids.ts";
import { type defineList, pageCost } from "./list.ts";

interface RootOptions {
  table: keyof typeof tables;
  /** The type's name, as in its ids. */
  name: string;
  /** The fields' names: one object, and the list. */
  one: string;
  many: string;
  ref: unknown;
  list: ReturnType<typeof defineList>;
  /** Whether it has a ref. */
  hasRef: boolean;
  /** Whether some rows may be read without a grant, so that the queries require none. */
  isForAll?: boolean;
}

/** Adds the queries of an entity: `one(id:)`, `oneByRef(ref:)` and the list `many(…)`. */
export function addRootFields({ name, one, many, list, hasRef, ...options }: RootOptions): void {
  // The code is the same for every table: it is typed as if all were packs.
  const table = options.table as "packs";
  const ref = options.ref as typeof table;
  const resource = resourceOfTable[options.table];
  if (!resource) throw new Error(`${options.table} has no resource for grants`);
  const authScopes = options.isForAll ? { signedIn: true } : ({ may: `${resource}:read` } as const);

  builder.queryField(one, (t) =>
    t.drizzleField({
      type: ref,
      nullable: true,
      authScopes,
      description: `The \`${name}\` with this id; null if there is none.`,
      args: { id: t.arg.id({ required: true, description: `The id of the \`${name}\`.` }) },
      resolve: (query, _root, { id }, ctx) =>
        ctx.db.query[table].findFirst(query({ where: { id: readId(name, id, "id") } })),
    }),
  );
  if (hasRef) {
    builder.queryField(`${one}ByRef`, (t) =>
      t.drizzleField({
        type: ref,
        nullable: true,
        authScopes,
        description: `The \`${name}\` with this ref; null if there is none.`,
        args: { ref: t.arg.string({ required: true, description: `The ref of the \`${name}\`.` }) },
        resolve: (query, _root, args, ctx) => ctx.db.query[table].findFirst(query({ where: { ref: args.ref } })),
      }),
    );
  }
  builder.queryField(many, (t) =>
    t.drizzleConnection(
      {
        type: ref,
        nullable: true,
        authScopes,
        description: `All objects of type \`${name}\` that you may read, in pages.`,
        args: list.args,
        complexity: pageCost,
        totalCount: (_root, args, ctx) => list.count(args, ctx),
        resolve: (query, _root, args, ctx) => ctx.db.query[table].findMany(query(list.page(args, ctx))),
      },
      list.connection,
    ),
  );
}
