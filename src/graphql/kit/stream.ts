import { may } from "../../access/grants.ts";
import type { Session } from "../../access/session.ts";
import { type ChannelContent, groundsOf } from "../../db/channels.ts";
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
  const grounds = groundsOf(change);
  if (session === null || grounds === null) return false;
  if (may(session, grounds.channel, "read", grounds)) return true;
  return change.channel === "inquiry" && takesPart(session, change.content);
}

/** Whether the inquiry is assigned to the session's identity or to one of its roles, or its execution asked. */
function takesPart(session: Session, { assignedTo, assignedRole, execution }: ChannelContent<"inquiry">): boolean {
  const { identityId, executionId, roles } = session;
  return (
    (identityId !== null && assignedTo === String(identityId)) ||
    (executionId !== null && execution === String(executionId)) ||
    (assignedRole !== null && roles.includes(assignedRole))
  );
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
