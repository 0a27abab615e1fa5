import { authorizeAny, type Permission } from "../../access/grants.ts";
import type { Session } from "../../access/session.ts";
import type { Services } from "../../db/services.ts";
import type { tables } from "../../db/tables.ts";
import type { Tx } from "../../db/tx.ts";
import { UnauthenticatedError } from "../../errors.ts";
import { builder } from "./builder.ts";
import type { Context } from "./context.ts";
import { readId } from "./ids.ts";
import { performMutation } from "./perform.ts";
import { type RefusalClass, refusable } from "./refusals.ts";

/** A context whose caller is signed in. */
export type SignedInContext = Context & { session: Session };

/** The options that all mutations share; `I` is the input. */
interface Common<I> {
  name: string;
  /** A grant that the caller needs, or several of which one suffices; null if the verb decides. */
  may: Permission | readonly Permission[] | null;
  description: string;
  /** The input's type; null if there is none. */
  input: { readonly $inferInput: I } | null;
  inputDescription?: string;
  /** The input fields that accept secrets and store them encrypted. */
  secretFields?: readonly string[];
  /** Refusals in addition to those of all mutations. */
  refusals?: readonly RefusalClass[];
}

/** The work of a mutation; `P` is the argument of `run`, `R` its result. */
type Work<I, P, R> =
  | { prepare?: undefined; steps?: undefined; run(tx: Tx, session: Session, input: I): Promise<R> }
  | {
      /** Slow work, or work that reads the request, before the transaction. */
      prepare(ctx: SignedInContext, input: I): P | Promise<P>;
      steps?: undefined;
      run(tx: Tx, session: Session, prepared: P): Promise<R>;
    }
  /** Work in several transactions; the caller states in a comment why. */
  | { prepare?: undefined; steps(services: Services, session: Session, input: I): Promise<R> };

/** The payload's field and its description. */
type PayloadField = readonly [name: string, description: string];

/** Returns a function that performs the mutation with the field's arguments. */
function caller<I, P, R>(options: Common<I> & Work<I, P, R>) {
  const { name, may, secretFields = [] } = options;
  return async (args: { input?: unknown }, context: Context): Promise<R> => {
    const { session } = context;
    if (!session) throw new UnauthenticatedError();
    const call = { operation: name, input: (args.input ?? {}) as Record<string, unknown>, secretFields };
    return await performMutation<R>(context, session, call, async (given, commit) => {
      if (may !== null) authorizeAny(session, typeof may === "string" ? [may] : may);
      const input = given as I; // checked by the schema
      if (options.steps) return await options.steps(context.services, session, input);
      if (!options.prepare) return await commit((tx) => options.run(tx, session, input));
      const prepared = await options.prepare({ ...context, session }, input);
      return await commit((tx) => options.run(tx, session, prepared));
    });
  };
}

/** An input that only names something by its ref. */
function refInput(name: string, noun: string, doing: string) {
  return builder.inputType(name, {
    description: `The ${noun} to ${doing}.`,
    fields: (t) => ({ ref: t.string({ required: true, description: `The ${noun}'s ref.` }) }),
  });
}

// The code is the same for every input, table and type: it is typed as if there were one of each.
const someInput = (input: unknown) => input as ReturnType<typeof refInput>;
const someTable = (table: keyof typeof tables) => table as "packs";
const someObject = (type: unknown) => type as "DateTime";

interface RowMutation<I> extends Common<I> {
  table: keyof typeof tables;
  /** The row's type. */
  ref: unknown;
  payload: PayloadField;
}

/** Adds a mutation whose payload holds the changed row; the verb returns the id. */
export function addRowMutation<I, P>(options: RowMutation<I> & Work<I, P, { id: bigint }>): void {
  const { name, may, description, input, inputDescription = "", payload, refusals } = options;
  const table = someTable(options.table);
  const call = caller(options);
  builder.mutationField(name, (t) =>
    t.drizzleField({
      type: options.ref as typeof table,
      nullable: true,
      description,
      extensions: { may },
      args: { input: t.arg({ type: someInput(input), required: true, description: inputDescription }) },
      errors: refusable(...payload, refusals),
      resolve: async (query, _root, args, ctx) => {
        const { id } = await call(args, ctx);
        return await ctx.written.query[table].findFirst(query({ where: { id } }));
      },
    }),
  );
}

interface ObjectMutation<I, R> extends Common<I> {
  /** The type of the verb's result. */
  type: unknown;
  /** Null if the type is the payload itself. */
  payload: PayloadField | null;
  /** Called with the verb's result after the commit. */
  committed?(ctx: Context, result: R): void;
}

/** Adds a mutation whose payload holds the verb's result. */
export function addMutation<I, P, R>(options: ObjectMutation<I, R> & Work<I, P, R>): void {
  const { name, may, description, input, inputDescription = "", payload, refusals } = options;
  const call = caller(options);
  builder.mutationField(name, (t) =>
    t.field({
      type: someObject(options.type),
      nullable: true,
      description,
      extensions: { may },
      args:
        input === null
          ? {}
          : { input: t.arg({ type: someInput(input), required: true, description: inputDescription }) },
      errors: { ...refusable(...(payload ?? ["", ""]), refusals), directResult: payload === null },
      resolve: async (_root, args, ctx) => {
        const result = await call(args, ctx);
        options.committed?.(ctx, result);
        return result as never; // of the type `options.type`
      },
    }),
  );
}

/** Adds a field to a payload that returns the row with the payload's id, or another one in it, as it is after the mutation. */
export function addRowField<K extends string = "id">(
  type: unknown,
  name: string,
  row: { table: keyof typeof tables; ref: unknown; description: string; key?: K },
): void {
  const table = someTable(row.table);
  builder.objectField(type as ReturnType<typeof builder.objectRef<Record<string, bigint | null>>>, name, (t) =>
    t.drizzleField({
      type: row.ref as typeof table,
      nullable: true,
      description: row.description,
      resolve: (query, payload, _args, ctx) => {
        const id = payload[row.key ?? "id"] ?? null;
        return id === null ? null : ctx.written.query[table].findFirst(query({ where: { id } }));
      },
    }),
  );
}

/** Returns the indefinite article of a noun. */
export const article = (noun: string) => (/^[aeiou]/.test(noun) ? "an" : "a");

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);

/** The input field that makes a creating mutation safe to repeat. */
export const idempotencyKeyField = (t: Fields) =>
  t.string({
    description:
      "A key of your choice. A request that repeats it within 24 hours creates nothing and returns what the first one created.",
  });

/** The input field that refuses an update of a row that has changed since it was read. */
export const expectedUpdated = (t: Fields) =>
  t.field({
    type: "DateTime",
    description:
      "The value of `updated` that you have read. If it has changed since, the mutation is refused with a conflict.",
  });

/** The builder of the fields of an input. */
export type Fields = PothosSchemaTypes.InputFieldBuilder<typeof builder.$inferSchemaTypes, "InputObject">;

interface Switch {
  /** The type's name, and the noun for it in descriptions. */
  kind: string;
  noun: string;
  may: Permission;
  table: keyof typeof tables;
  ref: unknown;
  /** The effects of enabling and disabling. */
  on: string;
  off: string;
  run(tx: Tx, session: Session, input: { ref: string; enabled: boolean }): Promise<{ id: bigint }>;
}

/** Adds `enable…` and `disable…`. */
export function addSwitch({ kind, noun, on, off, run, ...options }: Switch): void {
  const shared = {
    ...options,
    inputDescription: `The ${noun}.`,
    payload: [lowerFirst(kind), `The ${noun} as it is now.`],
  } as const;
  addRowMutation({
    ...shared,
    name: `enable${kind}`,
    description: `Enables ${article(noun)} ${noun}: ${on} Has no effect if it is enabled.`,
    input: refInput(`Enable${kind}Input`, noun, "enable"),
    run: (tx, session, { ref }) => run(tx, session, { ref, enabled: true }),
  });
  addRowMutation({
    ...shared,
    name: `disable${kind}`,
    description: `Disables ${article(noun)} ${noun}: ${off} Has no effect if it is disabled.`,
    input: refInput(`Disable${kind}Input`, noun, "disable"),
    run: (tx, session, { ref }) => run(tx, session, { ref, enabled: false }),
  });
}

interface Deletion {
  kind: string;
  noun: string;
  may: Permission | null;
  description: string;
}

function addDeletionOf<I, R extends { id: bigint }>(
  { kind, noun, may, description }: Deletion,
  {
    input,
    shown,
    run,
  }: { input: unknown; shown: keyof R & string; run: (tx: Tx, session: Session, input: I) => Promise<R> },
): void {
  const type = builder.objectRef<R>(`Deleted${kind}`).implement({
    description: `A deleted ${noun}.`,
    fields: (t) => ({
      id: t.globalID({ description: "Its former id.", resolve: ({ id }) => ({ id, type: kind }) }),
      ...(shown === "id"
        ? {}
        : { [shown]: t.string({ description: `Its former ${shown}.`, resolve: (row) => String(row[shown]) }) }),
    }),
  });
  addMutation<I, never, R>({
    name: `delete${kind}`,
    may,
    description,
    input: input as { readonly $inferInput: I },
    inputDescription: `The ${noun} to delete.`,
    type,
    payload: [lowerFirst(kind), `The deleted ${noun}.`],
    run,
  });
}

/** Adds `delete…` for objects identified by a ref or a login. */
export function addDeletion<N extends "ref" | "login">(
  deletion: Deletion,
  name: N,
  run: (tx: Tx, session: Session, input: Record<N, string>) => Promise<{ id: bigint } & Record<N, string>>,
): void {
  const { kind, noun } = deletion;
  const input = builder.inputType(`Delete${kind}Input`, {
    description: `The ${noun} to delete.`,
    fields: (t) => ({ [name]: t.string({ required: true, description: `The ${noun}'s ${name}.` }) }),
  });
  addDeletionOf(deletion, { input, shown: name, run });
}

/** Adds `delete…` for objects identified by their id; `shown` is the field that the payload also holds. */
export function addDeletionById<R extends { id: bigint }>(
  deletion: Deletion,
  shown: keyof R & string,
  run: (tx: Tx, session: Session, input: { id: bigint }) => Promise<R>,
): void {
  const { kind, noun } = deletion;
  const input = builder.inputType(`Delete${kind}Input`, {
    description: `The ${noun} to delete.`,
    fields: (t) => ({ id: t.id({ required: true, description: `The ${noun}'s id.` }) }),
  });
  addDeletionOf<{ id: string }, R>(deletion, {
    input,
    shown,
    run: (tx, session, { id }) => run(tx, session, { id: readId(kind, id, "id") }),
  });
}
