import { mutate, send } from "../client.ts";
import { normalized } from "../connection.ts";
import { Context } from "../context.ts";
import { addGroup, define, type Group, option } from "../define.ts";
import { Failure, UsageFailure } from "../failure.ts";
import { askSecret, readSecretLine } from "../input.ts";
import { checkProfileName, defaultProfile, readProfile, storeProfile } from "../profiles.ts";
import { addTokens } from "./token.ts";

/** Adds `auth` with its commands. */
export function addAuth(above: Group): void {
  const commands = addGroup(above, "auth", "sign in and out, and work with credentials", "whoami");
  define<LoginOptions>(commands, {
    name: "login [link]",
    description: "sign in, and store the credential in a profile: with a sign-in link, a password or a token",
    options: [
      option("--login <login>", "sign in with this login and a password, which is asked for"),
      option("--password-stdin", "read the password from standard input"),
      option("--token-stdin", "read a token from standard input, and store it"),
    ],
    examples: [
      "login 'http://127.0.0.1:8080/sign-in#att_signin_NpwCC1u1ItCPs0TEceUdR2QuZU7fh6C55Wii_lmORhI'",
      "login --url http://127.0.0.1:8080 --login admin --password-stdin < password.txt",
      "login --url http://127.0.0.1:8080 --profile robot --token-stdin < token.txt",
    ],
    run: (context, [link], options) => login(context, link, options),
  });
  define(commands, {
    name: "logout",
    description: "end the session, and forget the credential of the profile",
    examples: ["logout"],
    run: logout,
  });
  define(commands, {
    name: "whoami",
    description: "show who you are, and where",
    examples: ["whoami", "whoami --output json"],
    run: whoami,
  });
  define(commands, {
    name: "link",
    description: "print a link that signs in a browser; needs an API token that never expires",
    examples: ["link"],
    run: link,
  });
  addTokens(commands);
}

interface LoginOptions {
  login?: string;
  passwordStdin?: boolean;
  tokenStdin?: boolean;
}

interface Viewer {
  identity: { login: string; displayName: string | null } | null;
  roles: string[];
  permissions: unknown[];
}

const viewerDocument = "{ viewer { identity { login displayName } roles permissions } }";

async function login(context: Context, link: string | undefined, options: LoginOptions): Promise<void> {
  const name = context.options.profile ?? defaultProfile;
  checkProfileName(name);
  const { url, token } = await obtain(context, link, options);
  const { viewer } = await new Context(context.terminal, context.command, { url, token, source: "" }).ask<{
    viewer: Viewer | null;
  }>(viewerDocument);
  storeProfile(context.terminal.env, name, { url, token });
  context.note(`Signed in to ${url} as ${viewer?.identity?.login ?? "nobody"} (profile ${name}).`);
}

async function obtain(
  context: Context,
  link: string | undefined,
  options: LoginOptions,
): Promise<{ url: string; token: string }> {
  if (link !== undefined) return await exchange(context, link);
  const url = addressFor(context);
  if (options.tokenStdin) return { url, token: await readSecretLine(context.terminal, "the token") };
  if (options.login !== undefined) return { url, token: await signIn(context, url, options.login, options) };
  const token = context.options.token ?? context.terminal.env["ATTUNE_TOKEN"];
  if (token) return { url, token };
  throw new UsageFailure(
    'Sign in with a link, which "attune serve" prints, with --login and a password, or with --token-stdin.',
  );
}

/** The address to sign in at; that of a profile that does not exist yet is that of the other settings. */
function addressFor(context: Context): string {
  const { url, profile } = context.options;
  if (url !== undefined) return normalized(url);
  const stored = readProfile(context.terminal.env, profile ?? defaultProfile);
  const { profile: _new, ...others } = context.options;
  return stored ? normalized(stored.url) : context.connectionOf(others).url;
}

/** Returns the session that a sign-in link gives. */
async function exchange({ terminal }: Context, link: string): Promise<{ url: string; token: string }> {
  const [address = "", secret] = link.split("/sign-in#");
  if (!secret) throw new UsageFailure("A sign-in link looks like http://127.0.0.1:8080/sign-in#att_signin_….");
  const url = normalized(address);
  const response = await send({ url, token: null, source: "" }, "/sign-in", {
    method: "POST",
    signal: terminal.signal,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token: secret }),
  });
  if (response.ok) return { url, token: sessionOf(response, url) };
  const { error } = (await response.json().catch(() => ({}))) as { error?: string };
  throw new Failure(error ?? `${url} is no Attune server: it responded with status ${response.status}.`);
}

function sessionOf(response: Response, url: string): string {
  const [token] = response.headers
    .getSetCookie()
    .flatMap((cookie) => /^attune_session=([^;]+)/.exec(cookie)?.[1] ?? []);
  if (token === undefined) throw new Failure(`${url} has started no session.`);
  return token;
}

async function signIn(context: Context, url: string, login: string, { passwordStdin }: LoginOptions): Promise<string> {
  const password = passwordStdin
    ? await readSecretLine(context.terminal, "the password")
    : await askSecret(context.terminal, "Password", "write --password-stdin and send it on standard input");
  const query = `mutation($input: SignInInput!) { signIn(input: $input) { __typename ... on Error { message } } }`;
  const response = await send({ url, token: null, source: "" }, "/graphql", {
    method: "POST",
    signal: context.terminal.signal,
    headers: { "content-type": "application/json", accept: "application/graphql-response+json" },
    body: JSON.stringify({ query, variables: { input: { login, password } } }),
  });
  const body = (await response.json().catch(() => ({}))) as {
    data?: { signIn: { __typename: string; message?: string } | null };
    errors?: { message: string }[];
  };
  if (body.data?.signIn?.__typename === "SignInPayload") return sessionOf(response, url);
  throw new Failure(
    body.data?.signIn?.message ?? body.errors?.[0]?.message ?? `${url} responded with status ${response.status}.`,
  );
}

async function logout(context: Context): Promise<void> {
  const { env } = context.terminal;
  const name = context.options.profile ?? defaultProfile;
  const profile = readProfile(env, name);
  if (!profile) throw new Failure(`No credential is stored in profile ${name}.`);
  try {
    const { url, token = null } = profile;
    const { ask } = new Context(context.terminal, context.command, { url, token, source: "" });
    await mutate(ask, "signOut", {}, "ended");
    context.note(`Signed out from ${url}.`);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.code !== "UNAUTHENTICATED") context.note(`Only this profile forgets the credential: ${error.message}`);
  }
  storeProfile(env, name, null);
}

async function whoami(context: Context): Promise<void> {
  const { viewer } = await context.ask<{ viewer: Viewer | null }>(viewerDocument);
  const { url, source } = context.connection;
  const { login = null, displayName = null } = viewer?.identity ?? {};
  const shown = { login, displayName, roles: viewer?.roles ?? [], server: url, credential: source };
  const all = { ...shown, permissions: viewer?.permissions ?? [] };
  await context.printObject(context.options.output === "table" && !context.options.verbose ? shown : all);
}

async function link(context: Context): Promise<void> {
  const { url, token } = context.connection;
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await send(context.connection, "/sign-in/link", {
    method: "POST",
    signal: context.terminal.signal,
    headers,
  });
  const { path, error } = (await response.json().catch(() => ({}))) as { path?: string; error?: string };
  if (path === undefined) throw new Failure(error ?? `${url} responded with status ${response.status}.`);
  await context.write(`${url}${path}\n`);
}
