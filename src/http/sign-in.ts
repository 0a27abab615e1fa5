import type { IncomingMessage, ServerResponse } from "node:http";
import { credentialOf, sessionCookie } from "../access/cookie.ts";
import type { Origins } from "../access/origin.ts";
import { findSession } from "../access/sessions.ts";
import { createSignInLink, type SignInOptions, signInByLink } from "../access/sign-in.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { ForbiddenError, UnauthenticatedError } from "../errors.ts";
import { readBody, respond } from "./respond.ts";

// The token is in the fragment, which no log, Referer or link preview contains. The page reads and posts it.
const script = `
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const say = (text) => { document.querySelector("p").textContent = text; };
if (!token) say("This link has no token: use one that the server or npm run link has printed.");
else fetch("/sign-in", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token }) })
  .then(async (response) => { if (response.ok) location.replace("/graphql"); else say((await response.json()).error); })
  .catch(() => say("The server cannot be reached."));
`;

const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in to Attune</title>
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}</style></head>
<body><h1>Attune</h1><p role="status">Signing in…</p><script>${script}</script></body></html>`;

/** Handles `/sign-in`. GET returns the page that posts the link's token; POST exchanges the token for a session cookie. */
export async function handleSignIn(
  services: Services,
  request: IncomingMessage,
  response: ServerResponse,
  { origins, ...options }: Omit<SignInOptions, "ip"> & { origins: Origins },
): Promise<void> {
  if (request.method === "GET") {
    respond(response, 200, page, { "content-type": "text/html; charset=utf-8", "referrer-policy": "no-referrer" });
    return;
  }
  if (request.method !== "POST") return respond(response, 405, { error: "GET or POST" }, { allow: "GET, POST" });
  if (!request.headers["content-type"]?.startsWith("application/json")) {
    return respond(response, 415, { error: "send application/json" });
  }
  const body = await readBody(request, 10_000);
  const token = body === null ? null : tokenOf(body);
  if (token === null) return respond(response, 400, { error: 'send {"token": "…"}' });
  try {
    const from = { ...options, ip: origins.addressOf(request) };
    const { value } = await signInByLink(services, { token }, from);
    respond(response, 200, { ok: true }, { "set-cookie": sessionCookie(value, request.headers.origin ?? null) });
  } catch (error) {
    if (!(error instanceof UnauthenticatedError)) throw error;
    respond(response, 401, { error: error.message });
  }
}

/** Handles `POST /sign-in/link`, with an API token: responds with the path of a new link for the token's identity. */
export async function handleSignInLink(
  services: Services,
  request: IncomingMessage,
  response: ServerResponse,
  { origins, requestId }: { origins: Origins; requestId: string },
): Promise<void> {
  if (request.method !== "POST") return respond(response, 405, { error: "POST only" }, { allow: "POST" });
  const credential = credentialOf({ authorization: request.headers.authorization ?? null, cookie: null });
  const session = credential === null ? null : await findSession(services.db, credential);
  if (session === null) return respond(response, 401, { error: "the token is not valid" });
  try {
    const from = { ip: origins.addressOf(request), requestId };
    const token = await write(services, (tx) => createSignInLink(tx, session, from));
    respond(response, 200, { path: `/sign-in#${token}` });
  } catch (error) {
    if (!(error instanceof ForbiddenError)) throw error;
    respond(response, 403, { error: error.message });
  }
}

function tokenOf(body: Buffer): string | null {
  try {
    const { token } = JSON.parse(body.toString("utf8")) as { token?: unknown };
    return typeof token === "string" ? token : null;
  } catch {
    return null;
  }
}
