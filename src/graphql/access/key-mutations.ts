import { deleteKey, revealKey, setKey } from "../../access/key.ts";
import { rotateEncryptionKey } from "../../access/rotate.ts";
import { builder } from "../kit/builder.ts";
import { expectedUpdated, idempotencyKey } from "../kit/mutation-field.ts";
import { refusable } from "../kit/refusals.ts";
import { Key } from "./key.ts";

const KeyOwnerInput = builder.inputType("KeyOwnerInput", {
  description: "What a key belongs to: exactly one of these.",
  isOneOf: true,
  fields: (t) => ({
    system: t.boolean({ description: "True: the whole system." }),
    identity: t.string({ description: "An identity, by its login." }),
    pack: t.string({ description: "A pack, by its ref." }),
    action: t.string({ description: "An action, by its ref." }),
    sensor: t.string({ description: "A sensor, by its ref." }),
  }),
});

const SetKeyInput = builder.inputType("SetKeyInput", {
  description: "A key to make, or to give another value.",
  fields: (t) => ({
    owner: t.field({ type: KeyOwnerInput, required: true, description: "What it belongs to." }),
    name: t.string({
      required: true,
      description: "Its name among its owner's keys: 1 to 63 of a-z, 0-9, _ and -, a letter or digit first.",
    }),
    value: t.string({ required: true, description: "Its value, at most 16 KiB." }),
    encrypted: t.boolean({ description: "Whether the value is stored encrypted; true unless said otherwise." }),
    expectedUpdated: expectedUpdated(t),
    idempotencyKey: idempotencyKey(t),
  }),
});

const keyInput = (name: string, description: string) =>
  builder.inputType(name, {
    description,
    fields: (t) => ({ ref: t.string({ required: true, description: "The key's ref." }) }),
  });
const DeleteKeyInput = keyInput("DeleteKeyInput", "The key to delete.");
const RevealKeyInput = keyInput("RevealKeyInput", "The key to reveal.");

// Keys of one's own take no grant: what the others take, the verbs ask for.
builder.mutationField("setKey", (t) =>
  t.withAuth({ signedIn: true }).drizzleField({
    type: Key,
    nullable: true,
    description: "Makes a key, or gives the one of that owner and name another value.",
    args: { input: t.arg({ type: SetKeyInput, required: true, description: "The key." }) },
    errors: refusable("key", "The key as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { owner, name, value, encrypted, expectedUpdated: expected } = input;
      const key = { owner, name, value, encrypted: encrypted ?? true, expectedUpdated: expected ?? null };
      const { id } = await setKey(ctx.engine, ctx.session, key);
      return await ctx.written.query.keys.findFirst(query({ where: { id } }));
    },
  }),
);

const DeletedKey = builder.objectRef<{ id: bigint; ref: string }>("DeletedKey").implement({
  description: "A key that is no more.",
  fields: (t) => ({
    id: t.globalID({ description: "The id that it had.", resolve: ({ id }) => ({ id, type: Key }) }),
    ref: t.exposeString("ref", { description: "The ref that it had." }),
  }),
});

builder.mutationField("deleteKey", (t) =>
  t.withAuth({ signedIn: true }).field({
    type: DeletedKey,
    nullable: true,
    description: "Deletes a key. Executions that were given it keep what they were given.",
    args: { input: t.arg({ type: DeleteKeyInput, required: true, description: "The key." }) },
    errors: refusable("key", "The key that was deleted."),
    resolve: (_root, { input }, ctx) => deleteKey(ctx.engine, ctx.session, { ref: input.ref }),
  }),
);

const RevealedKey = builder.objectRef<{ id: bigint; value: string }>("RevealedKey").implement({
  description: "A key with its value.",
  fields: (t) => ({
    value: t.exposeString("value", { description: "Its value." }),
    key: t.drizzleField({
      type: Key,
      nullable: true,
      description: "The key.",
      resolve: (query, { id }, _args, ctx) => ctx.written.query.keys.findFirst(query({ where: { id } })),
    }),
  }),
});

builder.mutationField("revealKey", (t) =>
  t.withAuth({ signedIn: true }).field({
    type: RevealedKey,
    nullable: true,
    description: "Tells a key's value. That it was told, to whom and from where, stands in the audit trail first.",
    args: { input: t.arg({ type: RevealKeyInput, required: true, description: "The key." }) },
    errors: refusable("revealed", "The key and its value."),
    resolve: (_root, { input }, { engine, session, ip, requestId }) =>
      revealKey(engine, session, { ref: input.ref, request: { ip, requestId } }),
  }),
);

const EncryptionRotation = builder
  .objectRef<{ keys: number; secrets: number; complete: boolean }>("EncryptionRotation")
  .implement({
    description: "How much was encrypted anew.",
    fields: (t) => ({
      keys: t.exposeInt("keys", { description: "How many keys." }),
      secrets: t.exposeInt("secrets", { description: "How many secrets of executions." }),
      complete: t.exposeBoolean("complete", {
        description: "Whether nothing is left under an older key; if not, call it again.",
      }),
    }),
  });

builder.mutationField("rotateEncryptionKey", (t) =>
  t.withAuth({ may: "key:rotate" }).field({
    type: EncryptionRotation,
    nullable: true,
    description:
      "Encrypts anew, under the server's present key, what its older keys encrypted; in batches, so that it may be interrupted and called again.",
    errors: refusable("rotation", "What was done."),
    resolve: (_root, _args, ctx) => rotateEncryptionKey(ctx.engine, ctx.session),
  }),
);
