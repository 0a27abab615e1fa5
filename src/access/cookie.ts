import { sessionDays } from "./sessions.ts";

const name = "attune_session";

/**
 * The session's cookie: for requests that our own pages make, out of reach of their scripts. Secure where the page says that it
 * came over https: a proxy's headers are not believed, what the browser itself says of its page is.
 */
export function sessionCookie(value: string, origin: string | null): string {
  return cookie(value, sessionDays * 86_400, origin);
}

/** Takes the cookie away. */
export function clearedCookie(origin: string | null): string {
  return cookie("", 0, origin);
}

function cookie(value: string, maxAgeSeconds: number, origin: string | null): string {
  const secure = origin?.startsWith("https://") ? "; Secure" : "";
  return `${name}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${maxAgeSeconds}${secure}`;
}

/** Where a request may bring a credential. */
interface Headers {
  authorization: string | null;
  cookie: string | null;
}

/** The credential of a request: the bearer token, else the session cookie's value; null without either. */
export function credentialOf(headers: Headers): string | null {
  return bearerOf(headers) ?? cookieOf(headers);
}

/** The session cookie's value where it is what the request is judged by; null otherwise. */
export function cookieCredential(headers: Headers): string | null {
  return bearerOf(headers) === null ? cookieOf(headers) : null;
}

function bearerOf({ authorization }: Headers): string | null {
  return /^Bearer\s+(\S+)$/i.exec(authorization ?? "")?.[1] ?? null;
}

function cookieOf({ cookie }: Headers): string | null {
  for (const part of (cookie ?? "").split(";")) {
    const [key, value] = part.trim().split("=");
    if (key === name && value) return value;
  }
  return null;
}
