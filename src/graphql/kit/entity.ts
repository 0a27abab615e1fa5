import type { InputFieldMap } from "@pothos/core";
import type { Permission, Resource } from "../../access/grants.ts";
import type { Session } from "../../access/session.ts";
import type { Services } from "../../db/services.ts";
import type { tables } from "../../db/tables.ts";
import type { Tx } from "../../db/tx.ts";
import { builder } from "./builder.ts";
import {
  addDeletion,
  addRowMutation,
  addSwitch,
  article,
  expectedUpdated,
  type Fields,
  idempotencyKeyField,
} from "./mutation.ts";

type Verb<Input, Result = { id: bigint }> = (tx: Tx, session: Session, input: Input) => Promise<Result>;
type Patch = Record<string, unknown>;

/** An entity that users create and change by its ref: its fields, its verbs and the descriptions of its mutations. */
interface Entity<Create, Update> {
  /** The type's name; its mutations are called `create…`, `update…`, `enable…`, `disable…` and `delete…` after it. */
  kind: string;
  /** The noun for it in descriptions. */
  noun: string;
  resource: Resource;
  table: keyof typeof tables;
  /** The row's type. */
  ref: unknown;
  /** Returns the fields of both inputs; `isNew` for the input of `create…`, where some are required. */
  fields(t: Fields, isNew: boolean): InputFieldMap;
  /** Converts the input to the fields of the verbs, where the two differ. */
  read?(fields: Patch): Patch;
  create: {
    description: string;
    refDescription?: string;
    /** Runs before the transaction. */
    prepare?(services: Services, input: Create): Promise<void>;
    verb: Verb<Create>;
  };
  update: {
    description: string;
    /** Runs before the transaction. */
    prepare?(services: Services, input: Patch & { ref: string }): Promise<void>;
    verb: Verb<Update>;
  };
  /** The effects of enabling and disabling; absent if it cannot be disabled. */
  enable?: { on: string; off: string; verb: Verb<{ ref: string; enabled: boolean }> };
  delete: { description: string; verb: Verb<{ ref: string }, { id: bigint; ref: string }> };
}

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
        idempotencyKey: idempotencyKeyField(t),
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

  addRowMutation<Patch, Patch>({
    name: `update${kind}`,
    may: may("update"),
    description: `${entity.update.description} Omitted fields keep their values; null clears a field that can be null.`,
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
    prepare: async ({ services }, input) => {
      await entity.update.prepare?.(services, input as Patch & { ref: string }); // by the input
      return input;
    },
    run: (tx, session, { ref, expectedUpdated: expected = null, ...patch }) =>
      entity.update.verb(tx, session, { ref, expectedUpdated: expected, patch: read(patch) } as Update),
  });

  if (entity.enable) {
    const { on, off, verb } = entity.enable;
    addSwitch({ kind, noun, may: may("update"), table, ref, on, off, run: verb });
  }
  addDeletion({ kind, noun, may: may("delete"), description: entity.delete.description }, "ref", entity.delete.verb);
}
