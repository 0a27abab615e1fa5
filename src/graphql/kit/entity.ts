import type { InputFieldMap } from "@pothos/core";
import type { Permission, Resource } from "../../access/grants.ts";
import type { Session } from "../../access/session.ts";
import type { Services } from "../../db/services.ts";
import type { tables } from "../../db/tables.ts";
import type { Tx } from "../../db/tx.ts";
import { builder } from "./builder.ts";
import { addDeletion, addRowMutation, addSwitch, expectedUpdated, type Fields, idempotencyKey } from "./mutation.ts";

type Verb<Input, Result = { id: bigint }> = (tx: Tx, session: Session, input: Input) => Promise<Result>;
type Patch = Record<string, unknown>;

/** An entity that users create and change by its ref: its fields, its verbs, and what its mutations say of themselves. */
interface Entity<Create, Update> {
  /** The type's name; its mutations are called `create…`, `update…`, `enable…`, `disable…` and `delete…` after it. */
  kind: string;
  /** What it is called in sentences. */
  noun: string;
  resource: Resource;
  table: keyof typeof tables;
  /** The row's type. */
  ref: unknown;
  /** The fields of both inputs; what only a new one must have is required where `isNew`. */
  fields(t: Fields, isNew: boolean): InputFieldMap;
  /** Turns what clients write into what the verbs take, where the two differ. */
  read?(fields: Patch): Patch;
  create: {
    description: string;
    refDescription?: string;
    /** What has to happen before the transaction. */
    prepare?(services: Services, input: Create): Promise<void>;
    verb: Verb<Create>;
  };
  update: { description: string; verb: Verb<Update> };
  /** What is different once it is enabled or disabled; absent where it cannot be. */
  enable?: { on: string; off: string; verb: Verb<{ ref: string; enabled: boolean }> };
  delete: { description: string; verb: Verb<{ ref: string }, { id: bigint; ref: string }> };
}

const article = (noun: string) => (/^[aeiou]/.test(noun) ? "an" : "a");

/** Adds the mutations that create, update, enable, disable and delete an entity. The verbs check their input. */
export function addEntityMutations<Create, Update>(entity: Entity<Create, Update>): void {
  const { kind, noun, resource, table, ref, fields, read = (given) => given } = entity;
  const payloadField = kind.charAt(0).toLowerCase() + kind.slice(1);
  const may = (action: string): Permission => `${resource}:${action}`;

  addRowMutation<Patch, Create>({
    name: `create${kind}`,
    may: may("create"),
    description: entity.create.description,
    input: builder.inputType(`Create${kind}Input`, {
      description: `The ${noun} to create.`,
      fields: (t) => ({
        ref: t.string({
          required: true,
          description:
            entity.create.refDescription ?? "Its ref, `pack.name`. The pack must exist; `default` always does.",
        }),
        ...fields(t, true),
        idempotencyKey: idempotencyKey(t),
      }),
    }),
    inputDescription: `The ${noun} to create.`,
    table,
    ref,
    payload: [payloadField, `The new ${noun}.`],
    prepare: async ({ services }, input) => {
      const given = read(input) as Create; // the verb checks it
      await entity.create.prepare?.(services, given);
      return given;
    },
    run: entity.create.verb,
  });

  addRowMutation<Patch, never>({
    name: `update${kind}`,
    may: may("update"),
    description: `${entity.update.description} Fields that are left out stay as they are; null empties a field that can be empty.`,
    input: builder.inputType(`Update${kind}Input`, {
      description: `The changes to ${article(noun)} ${noun}.`,
      fields: (t) => ({
        ref: t.string({ required: true, description: `The ${noun}'s ref.` }),
        expectedUpdated: expectedUpdated(t),
        ...fields(t, false),
      }),
    }),
    inputDescription: `The ${noun} and its changes.`,
    table,
    ref,
    payload: [payloadField, `The ${noun} as it is now.`],
    run: (tx, session, { ref, expectedUpdated: expected = null, ...patch }) =>
      entity.update.verb(tx, session, { ref, expectedUpdated: expected, patch: read(patch) } as Update),
  });

  if (entity.enable) {
    const { on, off, verb } = entity.enable;
    addSwitch({ kind, noun, may: may("update"), table, ref, on, off, run: verb });
  }
  addDeletion({ kind, noun, may: may("delete"), description: entity.delete.description }, "ref", entity.delete.verb);
}
