import type { ServerResponse } from "node:http";
import { clearedCookie, sessionCookie } from "../../access/cookie.ts";
import type { Origins } from "../../access/origin.ts";
import type { Cookies } from "../kit/context.ts";

/**
 * Returns the cookies that the response may set; null if an untrusted page could have sent the request: such a page must not
 * sign its visitors in as another user.
 */
export function cookiesOf({ headers }: Request, response: ServerResponse, origins: Origins): Cookies | null {
  const origin = headers.get("origin");
  const trusted = origin === null || origins.isTrusted(origin, headers.get("host"));
  if (!trusted || !headers.get("content-type")?.startsWith("application/json")) return null;
  const set = (cookie: string) => {
    if (!response.headersSent) response.setHeader("set-cookie", cookie);
  };
  return { keep: (value) => set(sessionCookie(value, origin)), clear: () => set(clearedCookie(origin)) };
}
