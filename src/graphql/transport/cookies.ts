import type { ServerResponse } from "node:http";
import { clearedCookie, sessionCookie } from "../../access/cookie.ts";
import type { Origins } from "../../access/origin.ts";
import type { Cookies } from "../kit/context.ts";

/**
 * The cookie that the answer to this request may set; null where a page that is not trusted could have sent it: such a page must
 * not sign its visitors in as somebody else.
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
