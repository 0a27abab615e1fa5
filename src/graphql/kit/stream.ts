import { may } from "../../access/grants.ts";
import type { Session } from "../../access/session.ts";
import { type ChannelContent, groundsOf } from "../../db/channels.ts";
import { UnauthenticatedError } from "../../errors.ts";
import { stoppable } from "../../lib/stoppable.ts";
import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { createBurst } from "./burst.ts";
import type { Context } from "./context.ts";

/** A stream's message, or the error that it ends with. */
export type Message<T> = { value: T } | { ending: unknown };

const aborted = (signal: AbortSignal) =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    else signal.addEventListener("abort", resolve, { once: true });
  });

const sessionEnded = () => new UnauthenticatedError("The credential is no longer valid: sign in again.");

/**
 * Returns a subscription's stream. An error of the source, or the end of the session, becomes its last message: the subscriber
 * receives an error with a code and a completed stream instead of a broken connection. On a socket the end of the session sends nothing,
 * because the socket is closed: clients then connect again, with a new credential, and resume, but only operations that are still open.
 * `source` gets a function that returns the session's latest state.
 */
export function messages<T>(
  ctx: Context,
  source: (signal: AbortSignal, session: () => Session | null) => AsyncGenerator<T, void>,
) {
  return stoppable<Message<T>>(async function* (signal) {
    const ended = new AbortController();
    const unwatch = ctx.session
      ? ctx.sessions.watch(ctx.session, (now) => {
          ctx.session = now; // later messages are read with the session's new grants
          if (now === null) ended.abort();
        })
      : () => {};
    try {
      const values = source(AbortSignal.any([signal, ended.signal]), () => ctx.session);
      for await (const value of values) yield { value };
      if (!ended.signal.aborted || signal.aborted) return;
      if (ctx.isSocket) await aborted(signal);
      else yield { ending: sessionEnded() };
    } catch (ending) {
      yield { ending };
    } finally {
      unwatch();
    }
  });
}

/** Returns the message's value; throws the error that the stream ends with. */
export function unwrap<T>(message: Message<T>): T {
  if ("ending" in message) throw message.ending;
  return message.value;
}

/** Whether the session may read the object of the change. */
export function mayReadChange(session: Session | null, change: Change): boolean {
  const grounds = groundsOf(change);
  if (session === null || grounds === null) return false;
  if (may(session, grounds.channel, "read", grounds)) return true;
  return change.channel === "inquiry" && takesPart(session, change.content);
}

/** Whether the inquiry is assigned to the session's identity or roles, or was created by its execution. */
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

/** Returns a stream of the changes after the cursor that pass the filter and whose objects the session may read. */
export function followChanges(ctx: Context, filter: ChangeFilter, after: string | null | undefined) {
  const start = ctx.lastEventId ?? after ?? ctx.feed.start();
  ctx.beginsAfter = typeof start === "string" ? start : start.cursor;
  const burst = createBurst();
  ctx.burst = burst;
  return messages(ctx, (signal, session) => ctx.feed.follow(readableOnly(filter, session), start, signal, burst.begin));
}

/** Returns the first changes that such a stream sends after the cursor, at most `first`. */
export function replayChanges(ctx: Context, filter: ChangeFilter, after: string | null | undefined, first: number) {
  return ctx.feed.replay(
    readableOnly(filter, () => ctx.session),
    after ?? null,
    first,
  );
}
