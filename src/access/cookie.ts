import { sessionDays } from "./sessions.ts";

const name = "attune_session";

/**
 * Returns the `Set-Cookie` header for a session: same-site, not readable by scripts, and `Secure` when the page's `Origin` is https.
 * Only the browser's own `Origin` header decides that; a proxy's headers are not trusted.
 */
export function sessionCookie(value: string, origin: string | null): string {
  return cookie(value, sessionDays * 86_400, origin);
}

/** Returns the `Set-Cookie` header that removes the cookie. */
export function clearedCookie(origin: string | null): string {
  return cookie("", 0, origin);
}

function cookie(value: string, maxAgeSeconds: number, origin: string | null): string {
  const secure = origin?.startsWith("https://") ? "; Secure" : "";
  return `${name}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${maxAgeSeconds}${secure}`;
}

/** The request headers that may contain a credential. */
interface Headers {
  authorization: string | null;
  cookie: string | null;
}

/** Returns the bearer token of a request, else the session cookie's value; null without either. */
export function credentialOf(headers: Headers): string | null {
  return bearerOf(headers) ?? cookieOf(headers);
}

/** Returns the session cookie's value if the request is authenticated by it; null otherwise. */
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
