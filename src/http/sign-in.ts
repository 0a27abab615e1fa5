import type { IncomingMessage, ServerResponse } from "node:http";
import { credentialOf, sessionCookie } from "../access/cookie.ts";
import type { Origins } from "../access/origin.ts";
import { findSession } from "../access/sessions.ts";
import { createSignInLink, type SignInOptions, signInByLink } from "../access/sign-in.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { ForbiddenError, UnauthenticatedError } from "../errors.ts";
import { readBody, respond } from "./respond.ts";
import { signInPage } from "./sign-in-page.ts";

/** Handles `/sign-in`. GET returns the page; POST exchanges the token for a session cookie. */
export async function handleSignIn(
  services: Services,
  request: IncomingMessage,
  response: ServerResponse,
  { origins, ...options }: Omit<SignInOptions, "ip"> & { origins: Origins },
): Promise<void> {
  if (request.method === "GET") {
    respond(response, 200, signInPage, {
      "content-type": "text/html; charset=utf-8",
      "referrer-policy": "no-referrer",
    });
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
