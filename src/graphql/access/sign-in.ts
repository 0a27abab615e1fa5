import { signIn, signOut } from "../../access/sign-in.ts";
import { ForbiddenError, RateLimitedError, UnauthenticatedError } from "../../errors.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { addMutation } from "../kit/mutation.ts";
import { performMutation } from "../kit/perform.ts";
import { refusable } from "../kit/refusals.ts";
import { Identity } from "./identity.ts";

const SignInInput = builder.inputType("SignInInput", {
  description: "The credentials to sign in with.",
  fields: (t) => ({
    login: t.string({ required: true, description: "The login." }),
    password: t.string({ required: true, description: "The password." }),
  }),
});

const SignInPayload = builder.objectRef<{ expiresAt: Date; identityId: bigint | null }>("SignInPayload").implement({
  description: "The mutation succeeded.",
  fields: (t) => ({
    expiresAt: t.expose("expiresAt", {
      type: "DateTime",
      description: "When the session expires. Each use extends it to 30 days later.",
    }),
    identity: t.drizzleField({
      type: Identity,
      nullable: true,
      description: "The identity that you signed in as.",
      resolve: (query, { identityId }, _args, ctx) =>
        identityId === null ? null : ctx.written.query.identities.findFirst(query({ where: { id: identityId } })),
    }),
  }),
});

// The only mutation without a session. The verb records its own audit entry.
builder.mutationField("signIn", (t) =>
  t.field({
    type: SignInPayload,
    nullable: true,
    skipTypeScopes: true,
    description:
      "Starts a session and sets its cookie. Requires an HTTP request with JSON from a page of this server. After ten failures of a login from one address within 15 minutes that address must wait with it.",
    args: { input: t.arg({ type: SignInInput, required: true, description: "Login and password." }) },
    errors: { ...refusable("signIn", "The session.", [UnauthenticatedError, RateLimitedError]), directResult: true },
    resolve: async (_root, { input }, ctx) => {
      if (!ctx.session) return await begin(ctx, input);
      // With a session, the call is audited like any other mutation.
      const call = { operation: "signIn", input: { ...input }, secretFields: ["password"] };
      return await performMutation(ctx, ctx.session, call, () => begin(ctx, input));
    },
  }),
);

async function begin(ctx: Context, input: { login: string; password: string }) {
  const { attempts, ip, requestId, cookies, services } = ctx;
  if (!cookies) {
    throw new ForbiddenError(
      "Sign in over HTTP, with JSON, from a page of this server: other requests cannot set a cookie.",
    );
  }
  const { value, expiresAt, session } = await signIn(services, input, { attempts, ip, requestId });
  cookies.keep(value);
  ctx.session = session; // the rest of the selection is read with the new session
  return { expiresAt, identityId: session.identityId };
}

addMutation({
  name: "signOut",
  may: null,
  description: "Ends the session and clears its cookie. Its open connections end within a second.",
  input: builder.inputType("SignOutInput", {
    description: "The sessions to end.",
    fields: (t) => ({
      everywhere: t.boolean({
        description: "Whether to end all your sign-in sessions, in every browser; false by default.",
      }),
    }),
  }),
  inputDescription: "The sessions to end.",
  type: "Int",
  payload: ["ended", "The number of sessions that ended."],
  run: async (tx, session, { everywhere }) => (await signOut(tx, session, { everywhere: everywhere ?? false })).ended,
  committed: (ctx) => ctx.cookies?.clear(),
});
