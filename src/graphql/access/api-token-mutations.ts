import { createApiToken, revokeApiToken } from "../../access/api-token.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { addMutation, addRowField, addRowMutation, idempotencyKeyField } from "../kit/mutation.ts";
import { ApiToken } from "./api-token.ts";

const CreateApiTokenInput = builder.inputType("CreateApiTokenInput", {
  description: "The API token to create.",
  fields: (t) => ({
    label: t.string({ required: true, description: "What it is for." }),
    login: t.string({
      description:
        "The login of its identity; yours by default. For another identity you need `identity:update` on it and everything that the token can do.",
    }),
    expiresAt: t.field({
      type: "DateTime",
      description: "When it expires; by default it does not. At the latest when the token of this request expires.",
    }),
    permissionSetRefs: t.stringList({
      description:
        "The refs of the permission sets that it is limited to, at most 100. Without them it can do everything that its identity can do at the time.",
    }),
    idempotencyKey: idempotencyKeyField(t),
  }),
});

const CreateApiTokenPayload = builder.objectRef<{ id: bigint; value?: string }>("CreateApiTokenPayload").implement({
  description: "The token was created.",
  fields: (t) => ({
    value: t.string({
      nullable: true,
      description:
        "The token, to be sent as `Authorization: Bearer …`. It is shown only once, and is null when a repeated request finds the token created.",
      resolve: ({ value }) => value ?? null,
    }),
  }),
});
addRowField(CreateApiTokenPayload, "apiToken", { table: "tokens", ref: ApiToken, description: "The new token." });

addMutation({
  name: "createApiToken",
  may: null, // own tokens need no grant
  description:
    "Creates an API token. It can never do more than its identity can at the time, nor more than you can grant.",
  input: CreateApiTokenInput,
  inputDescription: "The token to create.",
  type: CreateApiTokenPayload,
  payload: null,
  run: (tx, session, { login = null, label, expiresAt = null, permissionSetRefs = null }) =>
    createApiToken(tx, session, { login, label, expiresAt, permissionSetRefs }),
});

addRowMutation({
  name: "revokeApiToken",
  may: null, // own tokens need no grant
  description:
    "Revokes an API token. Its open connections end within a second. For the token of another identity you need `identity:update` on it.",
  input: builder.inputType("RevokeApiTokenInput", {
    description: "The API token to revoke.",
    fields: (t) => ({ id: t.id({ required: true, description: "The token's id." }) }),
  }),
  inputDescription: "The token to revoke.",
  table: "tokens",
  ref: ApiToken,
  payload: ["apiToken", "The token as it is now."],
  run: (tx, session, { id }) => revokeApiToken(tx, session, { id: readId("ApiToken", id, "id") }),
});
