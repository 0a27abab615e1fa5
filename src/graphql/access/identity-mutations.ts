import { prepareSetPassword, setPassword } from "../../access/credential.ts";
import { createIdentity, deleteIdentity, prepareIdentity, updateIdentity } from "../../access/identity.ts";
import { RateLimitedError } from "../../errors.ts";
import { builder } from "../kit/builder.ts";
import { addDeletion, addRowMutation, expectedUpdated, type Fields, idempotencyKeyField } from "../kit/mutation.ts";
import { Identity } from "./identity.ts";

const changeable = (t: Fields) => ({
  displayName: t.string({ description: "Its display name." }),
  attributes: t.field({ type: "JSONObject", description: "Any further data about it, at most 64 KiB." }),
});

const about = { table: "identities", ref: Identity } as const;

addRowMutation({
  ...about,
  name: "createIdentity",
  may: "identity:create",
  description: "Creates an identity. Without roles or permission sets it can do nothing.",
  input: builder.inputType("CreateIdentityInput", {
    description: "The identity to create.",
    fields: (t) => ({
      login: t.string({
        required: true,
        description: "The name to sign in with: lower case; an e-mail address is possible. It cannot be changed.",
      }),
      password: t.string({
        description: "Its password, 12 to 200 characters. Without one it signs in by links and tokens only.",
      }),
      ...changeable(t),
      roles: t.stringList({
        description: "Its roles, at most 100. You must hold every grant of their permission sets.",
      }),
      permissionSets: t.stringList({
        description: "The refs of its permission sets, at most 100. You must hold every grant of them.",
      }),
      idempotencyKey: idempotencyKeyField(t),
    }),
  }),
  inputDescription: "The identity to create.",
  payload: ["identity", "The new identity."],
  prepare: (ctx, { login, displayName = null, password = null, attributes, roles, permissionSets }) =>
    prepareIdentity(ctx.session, {
      login,
      displayName,
      password,
      attributes: attributes ?? {},
      roles: roles ?? [],
      permissionSets: permissionSets ?? [],
    }),
  run: createIdentity,
});

addRowMutation({
  ...about,
  name: "updateIdentity",
  may: "identity:update",
  description:
    "Changes an identity. You cannot freeze yourself or the last administrator. Omitted fields keep their values; null clears a field that can be null.",
  input: builder.inputType("UpdateIdentityInput", {
    description: "The changes to an identity.",
    fields: (t) => ({
      login: t.string({ required: true, description: "The identity's login." }),
      expectedUpdated: expectedUpdated(t),
      ...changeable(t),
      frozen: t.boolean({
        description:
          "True disables its credentials and ends its open connections within a second; false enables the credentials again.",
      }),
    }),
  }),
  inputDescription: "The identity and its changes.",
  payload: ["identity", "The identity as it is now."],
  run: (tx, session, { login, expectedUpdated: expected = null, ...patch }) =>
    updateIdentity(tx, session, { login, expectedUpdated: expected, patch }),
});

addDeletion(
  {
    kind: "Identity",
    noun: "identity",
    may: "identity:delete",
    description:
      "Deletes an identity and its credentials; what it did stays. You cannot delete yourself, the last administrator, or an identity that owns keys.",
  },
  "login",
  deleteIdentity,
);

addRowMutation({
  ...about,
  name: "setPassword",
  may: null, // changing the own password needs no grant
  description:
    "Sets a password. The identity's other sessions and unused sign-in links end; its API tokens stay valid.",
  input: builder.inputType("SetPasswordInput", {
    description: "The new password.",
    fields: (t) => ({
      login: t.string({
        description:
          "The identity's login; yours by default. For another identity you need `identity:update` on it and every grant that it holds.",
      }),
      currentPassword: t.string({ description: "Your current password, if you have one." }),
      password: t.string({ required: true, description: "The new password, 12 to 200 characters." }),
    }),
  }),
  inputDescription: "The new password.",
  secretFields: ["password", "currentPassword"],
  refusals: [RateLimitedError],
  payload: ["identity", "The identity whose password was set."],
  prepare: ({ services, session, attempts }, { login = null, currentPassword = null, password }) =>
    prepareSetPassword(services.db, session, { login, currentPassword, password, attempts }),
  run: setPassword,
});
