import { deleteKey, revealKey, setKey } from "../../access/key.ts";
import { rotateEncryptionKey } from "../../access/rotate.ts";
import { builder } from "../kit/builder.ts";
import {
  addDeletion,
  addMutation,
  addRowField,
  addRowMutation,
  expectedUpdated,
  idempotencyKeyField,
} from "../kit/mutation.ts";
import { Key } from "./key.ts";

const KeyOwnerInput = builder.inputType("KeyOwnerInput", {
  description: "The owner of a key: exactly one of these.",
  isOneOf: true,
  fields: (t) => ({
    system: t.boolean({ description: "True: the system." }),
    identity: t.string({ description: "An identity, by its login." }),
    pack: t.string({ description: "A pack, by its ref." }),
    action: t.string({ description: "An action, by its ref." }),
    sensor: t.string({ description: "A sensor, by its ref." }),
  }),
});

const SetKeyInput = builder.inputType("SetKeyInput", {
  description: "The key to create or change.",
  fields: (t) => ({
    owner: t.field({ type: KeyOwnerInput, required: true, description: "Its owner." }),
    name: t.string({
      required: true,
      description: "Its name, unique within its owner: 1 to 63 of a-z, 0-9, _ and -, starting with a letter or digit.",
    }),
    value: t.string({ required: true, description: "Its value, at most 16 KiB." }),
    encrypted: t.boolean({ description: "Whether the value is stored encrypted; true by default." }),
    expectedUpdated: expectedUpdated(t),
    idempotencyKey: idempotencyKeyField(t),
  }),
});

// Own keys need no grant; the verbs check all others.
addRowMutation({
  name: "setKey",
  may: null,
  description: "Creates a key, or changes the value of the key with that owner and name.",
  input: SetKeyInput,
  inputDescription: "The key to create or change.",
  secretFields: ["value"],
  table: "keys",
  ref: Key,
  payload: ["key", "The key as it is now."],
  run: (tx, session, { owner, name, value, encrypted, expectedUpdated: expected = null }) =>
    setKey(tx, session, { owner, name, value, encrypted: encrypted ?? true, expectedUpdated: expected }),
});

addDeletion(
  {
    kind: "Key",
    noun: "key",
    may: null,
    description: "Deletes a key. Executions that were given its value keep it.",
  },
  "ref",
  deleteKey,
);

const RevealedKey = builder.objectRef<{ id: bigint; value: string }>("RevealedKey").implement({
  description: "A key with its value.",
  fields: (t) => ({ value: t.exposeString("value", { description: "Its value." }) }),
});
addRowField(RevealedKey, "key", { table: "keys", ref: Key, description: "The key." });

addMutation({
  name: "revealKey",
  may: null,
  description: "Returns a key's value. The audit trail records the caller and its address first.",
  input: builder.inputType("RevealKeyInput", {
    description: "The key to reveal.",
    fields: (t) => ({ ref: t.string({ required: true, description: "The key's ref." }) }),
  }),
  inputDescription: "The key to reveal.",
  type: RevealedKey,
  payload: ["revealed", "The key and its value."],
  prepare: ({ ip, requestId }, { ref }) => ({ ref, request: { ip, requestId } }),
  run: revealKey,
});

const EncryptionRotation = builder
  .objectRef<{ keys: number; secrets: number; settings: number; complete: boolean }>("EncryptionRotation")
  .implement({
    description: "The result of the rotation.",
    fields: (t) => ({
      keys: t.exposeInt("keys", { description: "The number of keys that were encrypted again." }),
      settings: t.exposeInt("settings", {
        description: "The number of packs, sensors and webhooks whose secrets were encrypted again.",
      }),
      secrets: t.exposeInt("secrets", { description: "The number of executions' secrets that were encrypted again." }),
      complete: t.exposeBoolean("complete", {
        description: "Whether everything is encrypted with the current key. If false, call the mutation again.",
      }),
    }),
  });

addMutation({
  name: "rotateEncryptionKey",
  may: "key:rotate",
  description:
    "Encrypts everything that older encryption keys encrypted with the server's current one. It works in batches: it can be interrupted and called again.",
  input: null,
  type: EncryptionRotation,
  payload: ["rotation", "The result of the rotation."],
  // Each batch is a separate transaction: a single one would lock every secret.
  steps: rotateEncryptionKey,
});
