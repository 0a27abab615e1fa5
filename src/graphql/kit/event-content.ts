import { may, targetOf } from "../../access/grants.ts";
import type { Context } from "./context.ts";

/** Returns a value that contains parts of an event of that trigger if the session may read the event, else null. Null: of no event. */
export function contentOf<T>({ session }: Context, triggerRef: string | null, value: T): T | null {
  const isReadable = triggerRef === null || (session !== null && may(session, "event", "read", targetOf(triggerRef)));
  return isReadable ? value : null;
}
