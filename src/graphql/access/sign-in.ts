import { signIn, signOut } from "../../access/sign-in.ts";
import { ForbiddenError, RateLimitedError, UnauthenticatedError } from "../../errors.ts";
import { builder } from "../kit/builder.ts";
import { refusable } from "../kit/refusals.ts";
import { Identity } from "./identity.ts";

const SignInInput = builder.inputType("SignInInput", {
  description: "Who signs in.",
  fields: (t) => ({
    login: t.string({ required: true, description: "The login." }),
    password: t.string({ required: true, description: "The password." }),
  }),
});

const SignInPayload = builder.objectRef<{ expiresAt: Date; identityId: bigint | null }>("SignInPayload").implement({
  description: "It was done.",
  fields: (t) => ({
    expiresAt: t.expose("expiresAt", {
      type: "DateTime",
      description: "When the session ends unless it is used: each use moves the end to 30 days later.",
    }),
    identity: t.drizzleField({
      type: Identity,
      nullable: true,
      description: "Who you are now.",
      resolve: (query, { identityId }, _args, ctx) =>
        identityId === null ? null : ctx.written.query.identities.findFirst(query({ where: { id: identityId } })),
    }),
  }),
});

// The one mutation that takes no session: it begins one.
builder.mutationField("signIn", (t) =>
  t.field({
    type: SignInPayload,
    nullable: true,
    skipTypeScopes: true,
    description:
      "Begins a session, which the answer's cookie holds: over HTTP only, with JSON, from a page of this server. Ten failures within 15 minutes make a login wait.",
    args: { input: t.arg({ type: SignInInput, required: true, description: "Login and password." }) },
    errors: { ...refusable("signIn", "The session.", [UnauthenticatedError, RateLimitedError]), directResult: true },
    resolve: async (_root, { input }, ctx) => {
      const { attempts, ip, requestId, cookies } = ctx;
      if (!cookies) {
        throw new ForbiddenError(
          "Sign in over HTTP, with JSON, from a page of this server: only there a cookie is set.",
        );
      }
      const { value, expiresAt, session } = await signIn(ctx.engine, input, { attempts, ip, requestId });
      cookies.keep(value);
      ctx.session = session; // what is selected of the answer is read as who has just signed in
      return { expiresAt, identityId: session.identityId };
    },
  }),
);

const SignOutInput = builder.inputType("SignOutInput", {
  description: "What to sign out of.",
  fields: (t) => ({
    everywhere: t.boolean({
      description:
        "Whether all sessions that you began by signing in end, in every browser; false unless said otherwise.",
    }),
  }),
});

builder.mutationField("signOut", (t) =>
  t.withAuth({ signedIn: true }).int({
    nullable: true,
    description: "Ends the session and takes its cookie away; what it has open ends within a second.",
    args: { input: t.arg({ type: SignOutInput, required: true, description: "This session, or all." }) },
    errors: refusable("ended", "How many sessions have ended."),
    resolve: async (_root, { input }, ctx) => {
      const { ended } = await signOut(ctx.engine, ctx.session, { everywhere: input.everywhere ?? false });
      ctx.cookies?.clear();
      return ended;
    },
  }),
);
