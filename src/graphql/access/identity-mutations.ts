import { setPassword } from "../../access/credential.ts";
import { createIdentity, deleteIdentity, updateIdentity } from "../../access/identity.ts";
import { RateLimitedError } from "../../errors.ts";
import { builder } from "../kit/builder.ts";
import { refusable } from "../kit/refusals.ts";
import { Identity } from "./identity.ts";

type Fields = PothosSchemaTypes.InputFieldBuilder<typeof builder.$inferSchemaTypes, "InputObject">;

const changeable = (t: Fields) => ({
  displayName: t.string({ description: "Its name for people." }),
  attributes: t.field({ type: "JSONObject", description: "Whatever else is to be kept about it, at most 64 KiB." }),
});

const identityLogin = (t: Fields) => t.string({ required: true, description: "The identity's login." });

const CreateIdentityInput = builder.inputType("CreateIdentityInput", {
  description: "An identity to make.",
  fields: (t) => ({
    login: t.string({
      required: true,
      description: "The name to sign in with: lower case, an e-mail address will do. It stays.",
    }),
    password: t.string({
      description: "Its password, 12 to 200 characters; without one it signs in by links and tokens only.",
    }),
    ...changeable(t),
    roles: t.stringList({ description: "Its roles, at most 100; you must hold what they bring." }),
    permissionSets: t.stringList({
      description: "The refs of its permission sets, at most 100; you must hold every grant of them.",
    }),
    idempotencyKey: t.string({ description: "Makes a repeated request find what the first has made." }),
  }),
});

builder.mutationField("createIdentity", (t) =>
  t.withAuth({ may: "identity:create" }).drizzleField({
    type: Identity,
    nullable: true,
    description: "Makes an identity, which may do nothing unless it is given roles or permission sets.",
    args: { input: t.arg({ type: CreateIdentityInput, required: true, description: "The identity." }) },
    errors: refusable("identity", "The new identity."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await createIdentity(ctx.engine, ctx.session, {
        login: input.login,
        displayName: input.displayName ?? null,
        password: input.password ?? null,
        attributes: input.attributes ?? {},
        roles: input.roles ?? [],
        permissionSets: input.permissionSets ?? [],
      });
      return await ctx.written.query.identities.findFirst(query({ where: { id } }));
    },
  }),
);

const UpdateIdentityInput = builder.inputType("UpdateIdentityInput", {
  description: "What to change of an identity; whatever is left out stays, and a null displayName takes it away.",
  fields: (t) => ({
    login: identityLogin(t),
    expectedUpdated: t.field({
      type: "DateTime",
      description: "The identity's `updated` as you have read it: a conflict when it has changed since.",
    }),
    ...changeable(t),
    frozen: t.boolean({
      description: "True stops its credentials and whatever it has open, within a second; false lets them work again.",
    }),
  }),
});

builder.mutationField("updateIdentity", (t) =>
  t.withAuth({ may: "identity:update" }).drizzleField({
    type: Identity,
    nullable: true,
    description: "Changes an identity. Nobody freezes themselves, or the last who may do everything.",
    args: {
      input: t.arg({
        type: UpdateIdentityInput,
        required: true,
        description: "The identity and what to change of it.",
      }),
    },
    errors: refusable("identity", "The identity as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { login, expectedUpdated = null, ...patch } = input;
      const { id } = await updateIdentity(ctx.engine, ctx.session, { login, expectedUpdated, patch });
      return await ctx.written.query.identities.findFirst(query({ where: { id } }));
    },
  }),
);

const DeleteIdentityInput = builder.inputType("DeleteIdentityInput", {
  description: "The identity to delete.",
  fields: (t) => ({ login: identityLogin(t) }),
});

const DeletedIdentity = builder.objectRef<{ id: bigint; login: string }>("DeletedIdentity").implement({
  description: "An identity that is no more.",
  fields: (t) => ({
    id: t.globalID({ description: "The id that it had.", resolve: ({ id }) => ({ id, type: Identity }) }),
    login: t.exposeString("login", { description: "The login that it had." }),
  }),
});

builder.mutationField("deleteIdentity", (t) =>
  t.withAuth({ may: "identity:delete" }).field({
    type: DeletedIdentity,
    nullable: true,
    description:
      "Deletes an identity and its credentials; what it did stays. Nobody deletes themselves, the last who may do everything, or one that owns keys.",
    args: { input: t.arg({ type: DeleteIdentityInput, required: true, description: "The identity." }) },
    errors: refusable("identity", "The identity that was deleted."),
    resolve: (_root, { input }, ctx) => deleteIdentity(ctx.engine, ctx.session, { login: input.login }),
  }),
);

const SetPasswordInput = builder.inputType("SetPasswordInput", {
  description: "A new password.",
  fields: (t) => ({
    login: t.string({
      description: "Whose; your own when left out. Another's takes `identity:update` and all that the other may do.",
    }),
    currentPassword: t.string({ description: "Your own current password, where you have one." }),
    password: t.string({ required: true, description: "The new password, 12 to 200 characters." }),
  }),
});

builder.mutationField("setPassword", (t) =>
  t.withAuth({ signedIn: true }).drizzleField({
    type: Identity,
    nullable: true,
    description:
      "Sets a password. The identity's other sessions and unused sign-in links end; its API tokens stay as they are.",
    args: { input: t.arg({ type: SetPasswordInput, required: true, description: "The password." }) },
    errors: refusable("identity", "Whose password it is.", [RateLimitedError]),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await setPassword(ctx.engine, ctx.session, {
        login: input.login ?? null,
        currentPassword: input.currentPassword ?? null,
        password: input.password,
        attempts: ctx.attempts,
      });
      return await ctx.written.query.identities.findFirst(query({ where: { id } }));
    },
  }),
);
