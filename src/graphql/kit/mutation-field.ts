import type { Session } from "../../access/session.ts";
import type { tables } from "../../db/tables.ts";
import { builder, type Permission } from "./builder.ts";
import type { Context } from "./context.ts";
import { readId } from "./ids.ts";
import { refusable } from "./refusals.ts";

type Asked = Context & { session: Session };
/** What makes the fields of an input. */
export type Fields = PothosSchemaTypes.InputFieldBuilder<typeof builder.$inferSchemaTypes, "InputObject">;

/** The field with which a creating mutation can be repeated. */
export const idempotencyKey = (t: Fields) =>
  t.string({
    description: "A key of your own: sent again within 24 hours, it makes nothing new and answers the same.",
  });

/** The field with which an update changes only what was read. */
export const expectedUpdated = (t: Fields) =>
  t.field({
    type: "DateTime",
    description: "Its `updated` as you have read it: a conflict when it has changed since.",
  });

interface RowMutation<Input extends { readonly $inferInput: unknown }> {
  name: string;
  may: Permission;
  table: keyof typeof tables;
  /** The row's type. */
  ref: unknown;
  description: string;
  input: Input;
  /** What the input is. */
  about: string;
  /** The payload's field, and what it is. */
  payload: readonly [name: string, description: string];
  run(ctx: Asked, input: Input["$inferInput"]): Promise<{ id: bigint }>;
}

/** Adds a mutation that answers a row as it is afterwards; `run` says which. */
export function addRowMutation<Input extends { readonly $inferInput: unknown }>(options: RowMutation<Input>): void {
  // The code is the same for every table and input, and so typed as if all were packs and one input.
  const table = options.table as "packs";
  const ref = options.ref as typeof table;
  const type = options.input as unknown as ReturnType<typeof refInput>;
  builder.mutationField(options.name, (t) =>
    t.withAuth({ may: options.may }).drizzleField({
      type: ref,
      nullable: true,
      description: options.description,
      args: { input: t.arg({ type, required: true, description: options.about }) },
      errors: refusable(...options.payload),
      resolve: async (query, _root, { input }, ctx) => {
        const { id } = await options.run(ctx, input);
        return await ctx.written.query[table].findFirst(query({ where: { id } }));
      },
    }),
  );
}

/** An input that only names something by its ref. */
function refInput(name: string, noun: string, doing: string) {
  return builder.inputType(name, {
    description: `The ${noun} to ${doing}.`,
    fields: (t) => ({ ref: t.string({ required: true, description: `The ${noun}'s ref.` }) }),
  });
}

interface Switch {
  /** The type's name and what it is called in sentences. */
  kind: string;
  noun: string;
  may: Permission;
  table: keyof typeof tables;
  ref: unknown;
  /** What is different afterwards. */
  on: string;
  off: string;
  run(ctx: Asked, input: { ref: string; enabled: boolean }): Promise<{ id: bigint }>;
}

/** Adds `enable…` and `disable…`. */
export function addSwitch({ kind, noun, on, off, run, ...options }: Switch): void {
  const payload = [kind.charAt(0).toLowerCase() + kind.slice(1), `The ${noun} as it is now.`] as const;
  const about = `The ${noun}.`;
  addRowMutation({
    ...options,
    name: `enable${kind}`,
    description: `Switches a ${noun} on: ${on} One that is on already stays so.`,
    input: refInput(`Enable${kind}Input`, noun, "switch on"),
    about,
    payload,
    run: (ctx, { ref }) => run(ctx, { ref, enabled: true }),
  });
  addRowMutation({
    ...options,
    name: `disable${kind}`,
    description: `Switches a ${noun} off: ${off} One that is off already stays so.`,
    input: refInput(`Disable${kind}Input`, noun, "switch off"),
    about,
    payload,
    run: (ctx, { ref }) => run(ctx, { ref, enabled: false }),
  });
}

interface Deletion {
  kind: string;
  noun: string;
  may: Permission;
  description: string;
}

/** Adds `delete…` of something known by its ref. */
export function addDeletion(
  { kind, noun, may, description }: Deletion,
  run: (ctx: Asked, input: { ref: string }) => Promise<{ id: bigint; ref: string }>,
): void {
  const type = builder.objectRef<{ id: bigint; ref: string }>(`Deleted${kind}`).implement({
    description: `A ${noun} that is no more.`,
    fields: (t) => ({
      id: t.globalID({ description: "The id that it had.", resolve: ({ id }) => ({ id, type: kind }) }),
      ref: t.exposeString("ref", { description: "The ref that it had." }),
    }),
  });
  const input = refInput(`Delete${kind}Input`, noun, "delete");
  builder.mutationField(`delete${kind}`, (t) =>
    t.withAuth({ may }).field({
      type,
      nullable: true,
      description,
      args: { input: t.arg({ type: input, required: true, description: `The ${noun}.` }) },
      errors: refusable(kind.charAt(0).toLowerCase() + kind.slice(1), `The ${noun} that was deleted.`),
      resolve: (_root, args, ctx) => run(ctx, { ref: args.input.ref }),
    }),
  );
}

/** Adds `delete…` of something that has an id only. */
export function addDeletionById(
  { kind, noun, may, description }: Deletion,
  run: (ctx: Asked, input: { id: bigint }) => Promise<{ id: bigint }>,
): void {
  const type = builder.objectRef<{ id: bigint }>(`Deleted${kind}`).implement({
    description: `A deleted ${noun}.`,
    fields: (t) => ({
      id: t.globalID({ description: "The id that it had.", resolve: ({ id }) => ({ id, type: kind }) }),
    }),
  });
  const input = builder.inputType(`Delete${kind}Input`, {
    description: `The ${noun} to delete.`,
    fields: (t) => ({ id: t.id({ required: true, description: `The ${noun}'s id.` }) }),
  });
  builder.mutationField(`delete${kind}`, (t) =>
    t.withAuth({ may }).field({
      type,
      nullable: true,
      description,
      args: { input: t.arg({ type: input, required: true, description: `The ${noun}.` }) },
      errors: refusable(kind.charAt(0).toLowerCase() + kind.slice(1), `The ${noun} that was deleted.`),
      resolve: (_root, args, ctx) => run(ctx, { id: readId(kind, args.input.id, "id") }),
    }),
  );
}
