import { may } from "../../access/grants.ts";
import { changeTarget } from "../../access/resource.ts";
import type { Session } from "../../access/session.ts";
import { UnauthenticatedError } from "../../errors.ts";
import { stoppable } from "../../lib/stoppable.ts";
import type { Change, ChangeFilter } from "../../notifier/page.ts";
import type { Context } from "./context.ts";

/** A stream's message, or the error that it ends with. */
export type Message<T> = { value: T } | { ending: unknown };

const over = () => new UnauthenticatedError("The credential is not valid any more: sign in again.");

/**
 * A subscription's stream. What the source throws becomes its last message, so that the subscriber gets an error with a
 * code and a completed stream rather than a broken connection; so does the end of the session, whose latest state the
 * source is given.
 */
export function messages<T>(
  ctx: Context,
  source: (signal: AbortSignal, session: () => Session | null) => AsyncGenerator<T, void>,
) {
  return stoppable<Message<T>>(async function* (signal) {
    const ended = new AbortController();
    const unwatch = ctx.session
      ? ctx.sessions.watch(ctx.session, (now) => {
          ctx.session = now; // what is selected of later messages is read as the session may from now on
          if (now === null) ended.abort();
        })
      : () => {};
    try {
      const values = source(AbortSignal.any([signal, ended.signal]), () => ctx.session);
      for await (const value of values) yield { value };
      if (ended.signal.aborted) yield { ending: over() };
    } catch (ending) {
      yield { ending };
    } finally {
      unwatch();
    }
  });
}

/** The message's value; throws the error that the stream ends with. */
export function unwrap<T>(message: Message<T>): T {
  if ("ending" in message) throw message.ending;
  return message.value;
}

/** Whether the session may read what the change is about. */
export function mayReadChange(session: Session | null, change: Change): boolean {
  if (session === null) return false;
  const target = changeTarget(change);
  if (!target) return false;
  const { resource, ...row } = target;
  if (may(session, resource, "read", row)) return true;
  if (resource !== "inquiry") return false;
  const role = change.content?.["assignedRole"];
  const asked = row.ownerId !== null && row.ownerId === session.identityId;
  const asks = session.executionId !== null && change.content?.["execution"] === String(session.executionId);
  return asked || asks || (typeof role === "string" && session.roles.includes(role));
}

const readableOnly = (filter: ChangeFilter, session: () => Session | null): ChangeFilter => ({
  ...filter,
  matches: (change) => filter.matches(change) && mayReadChange(session(), change),
});

/** A subscription to the log: the changes that pass the filter, as far as the session may read what they are about. */
export function followChanges(ctx: Context, filter: ChangeFilter, after: string | null | undefined) {
  return messages(ctx, (signal, session) =>
    ctx.feed.follow(readableOnly(filter, session), ctx.lastEventId ?? after ?? null, signal),
  );
}

/** What such a subscription would send after the cursor, at most `first`. */
export function replayChanges(ctx: Context, filter: ChangeFilter, after: string | null | undefined, first: number) {
  return ctx.feed.replay(
    readableOnly(filter, () => ctx.session),
    after ?? null,
    first,
  );
}
