import type { KeyedEngine } from "../access/key.ts";
import type { Session } from "../access/session.ts";
import type { Db } from "../db/client.ts";
import type { Feed } from "../notifier/feed.ts";

/**
 * What every resolver gets. `session` is null without a valid credential; `requestId` is told with errors; `lastEventId` is
 * the cursor behind which a browser resumes an event stream by itself.
 */
export interface Context {
  engine: KeyedEngine;
  db: Db;
  feed: Feed;
  session: Session | null;
  requestId: string;
  lastEventId: string | null;
}
