import { createApiToken, revokeApiToken } from "../../access/api-token.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { refusable } from "../kit/refusals.ts";
import { ApiToken } from "./api-token.ts";

const CreateApiTokenInput = builder.inputType("CreateApiTokenInput", {
  description: "An API token to make.",
  fields: (t) => ({
    label: t.string({ required: true, description: "What it is for." }),
    login: t.string({
      description: "Whose; your own when left out. Another's takes `identity:update` and all that the token may do.",
    }),
    expiresAt: t.field({
      type: "DateTime",
      description: "Until when it is good; without it, until it is revoked. Not after the token that you ask with.",
    }),
    permissionSetRefs: t.stringList({
      description:
        "The refs of the permission sets that it is narrowed to, at most 100; without them it does all that its identity may do at the time.",
    }),
    idempotencyKey: t.string({
      description: "Makes a repeated request find what the first has made, without its value.",
    }),
  }),
});

const CreateApiTokenPayload = builder
  .objectRef<{ id: bigint; value: string | null }>("CreateApiTokenPayload")
  .implement({
    description: "It was done.",
    fields: (t) => ({
      value: t.exposeString("value", {
        nullable: true,
        description:
          "What to send as `Authorization: Bearer …`. It is shown this once, and null when it was made before.",
      }),
      apiToken: t.drizzleField({
        type: ApiToken,
        nullable: true,
        description: "The new token.",
        resolve: (query, { id }, _args, ctx) => ctx.written.query.tokens.findFirst(query({ where: { id } })),
      }),
    }),
  });

builder.mutationField("createApiToken", (t) =>
  t.withAuth({ signedIn: true }).field({
    type: CreateApiTokenPayload,
    nullable: true,
    description:
      "Makes an API token. It never does more than its identity may do at the time, and nobody gives it what they do not hold.",
    args: { input: t.arg({ type: CreateApiTokenInput, required: true, description: "The token." }) },
    errors: { ...refusable("apiToken", "The new token."), directResult: true },
    resolve: async (_root, { input }, ctx) => {
      const { id, value = null } = await createApiToken(ctx.engine, ctx.session, {
        login: input.login ?? null,
        label: input.label,
        expiresAt: input.expiresAt ?? null,
        permissionSetRefs: input.permissionSetRefs ?? null,
      });
      return { id, value };
    },
  }),
);

const RevokeApiTokenInput = builder.inputType("RevokeApiTokenInput", {
  description: "The API token to revoke.",
  fields: (t) => ({ id: t.id({ required: true, description: "The token's id." }) }),
});

builder.mutationField("revokeApiToken", (t) =>
  t.withAuth({ signedIn: true }).drizzleField({
    type: ApiToken,
    nullable: true,
    description:
      "Ends an API token for good, and what it has open within a second. Another's takes `identity:update` on whose it is.",
    args: { input: t.arg({ type: RevokeApiTokenInput, required: true, description: "The token." }) },
    errors: refusable("apiToken", "The token as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await revokeApiToken(ctx.engine, ctx.session, { id: readId("ApiToken", input.id, "id") });
      return await ctx.written.query.tokens.findFirst(query({ where: { id } }));
    },
  }),
);
