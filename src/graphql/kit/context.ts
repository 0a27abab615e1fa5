import type { Attempts } from "../../access/attempts.ts";
import type { Session } from "../../access/session.ts";
import type { Sessions } from "../../access/sessions.ts";
import type { LocalPacks } from "../../catalog/reload.ts";
import type { Db } from "../../db/client.ts";
import type { Services } from "../../db/services.ts";
import type { Feed } from "../../notifier/feed.ts";
import type { IndexCache } from "../../worker/install/index-cache.ts";
import type { Burst } from "./burst.ts";

/** Sets the session cookie on the response. */
export interface Cookies {
  keep(value: string): void;
  clear(): void;
}

/**
 * The context of all resolvers. `session` is null without a valid credential; errors contain `requestId`; `lastEventId` is the
 * cursor after which a browser resumes an event stream.
 */
export interface Context {
  services: Services;
  /** The database, limited to what the session may read. */
  db: Db;
  /** The same without a limit on the topmost rows: for the rows that a mutation has just written. */
  written: Db;
  sessions: Sessions;
  feed: Feed;
  session: Session | null;
  /** Failed attempts at passwords and sign-in links, in this process. */
  attempts: Attempts;
  /** The packs that this process loads from directories; null: it loads none. */
  local: LocalPacks | null;
  /** The indexes of packs; null: there are none. */
  indexes: IndexCache | null;
  /** Null on sockets and for requests that may not set cookies. */
  cookies: Cookies | null;
  requestId: string;
  /** The IP address of the client; null if unknown. */
  ip: string | null;
  lastEventId: string | null;
  /** Whether the operation came over a socket, which is closed when its session ends. */
  isSocket: boolean;
  /** The position in the streams of changes before anything was read. */
  position: string;
  /** The cursor after which the operation's stream begins; null for other operations. */
  beginsAfter: string | null;
  /** The changes that the operation's stream is sending; null for other operations. */
  burst: Burst | null;
}
