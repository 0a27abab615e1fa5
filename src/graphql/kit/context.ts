import type { Attempts } from "../../access/attempts.ts";
import type { Session } from "../../access/session.ts";
import type { Sessions } from "../../access/sessions.ts";
import type { Db } from "../../db/client.ts";
import type { Services } from "../../db/services.ts";
import type { Feed } from "../../notifier/feed.ts";

/** Sets the session cookie on the response. */
export interface Cookies {
  keep(value: string): void;
  clear(): void;
}

/**
 * What every resolver gets. `session` is null without a valid credential; `requestId` is told with errors; `lastEventId` is
 * the cursor behind which a browser resumes an event stream by itself.
 */
export interface Context {
  services: Services;
  /** What the session may read. */
  db: Db;
  /** The same, but the topmost rows are found in any case: for answering what a mutation has just written. */
  written: Db;
  sessions: Sessions;
  feed: Feed;
  session: Session | null;
  /** Failed attempts at passwords and sign-in links, in this process. */
  attempts: Attempts;
  /** Null on sockets, and where the request is not one that may set cookies. */
  cookies: Cookies | null;
  requestId: string;
  /** The address that the request came from; null where none is known. */
  ip: string | null;
  lastEventId: string | null;
}
