import { type ExecutionArgs, GraphQLError } from "graphql";
import type { Plugin } from "graphql-yoga";
import type { Session } from "../../access/session.ts";
import type { Context } from "../kit/context.ts";

export interface LoadLimits {
  /** How long a query or a mutation may take. */
  timeMs: number;
  /** How many subscriptions an identity may have open in this process. */
  subscriptions: number;
}

export const loadLimits: LoadLimits = { timeMs: 30_000, subscriptions: 1000 };

/** Refuses, with a code, what would keep the server too busy: operations that take too long, too many subscriptions. */
export function useLoadLimits({ timeMs, subscriptions }: LoadLimits): Plugin<Context> {
  const open = new Map<string, number>();
  return {
    onExecute: ({ executeFn, setExecuteFn }) => {
      setExecuteFn(async (args: ExecutionArgs) => {
        const stopping = new AbortController();
        const late = Promise.withResolvers<never>();
        const timer = setTimeout(() => {
          late.reject(tookTooLong(timeMs));
          stopping.abort();
        }, timeMs);
        // What is under way is left to itself: a mutation commits or does not. Nothing more is begun.
        const result = Promise.resolve(executeFn(withSignal(args, stopping.signal)));
        try {
          return await Promise.race([result, late.promise]);
        } catch (error) {
          result.catch(() => {}); // of what was aborted; the client has its answer
          if (error instanceof GraphQLError) return { errors: [error] };
          throw error;
        } finally {
          clearTimeout(timer);
        }
      });
    },
    onSubscribe: ({ args, subscribeFn, setSubscribeFn, setResultAndStopExecution }) => {
      const who = keyOf(args.contextValue.session);
      const others = open.get(who) ?? 0;
      if (others >= subscriptions) {
        setResultAndStopExecution({ errors: [rateLimited("subscriptions", subscriptions)] });
        return;
      }
      open.set(who, others + 1);
      let held = true;
      const release = () => {
        if (!held) return;
        held = false;
        const left = (open.get(who) ?? 1) - 1;
        if (left > 0) open.set(who, left);
        else open.delete(who);
      };
      setSubscribeFn(async (given: ExecutionArgs) => {
        try {
          return await subscribeFn(given);
        } catch (error) {
          release();
          throw error;
        }
      });
      return {
        onSubscribeResult: ({ result }) => {
          if (!(Symbol.asyncIterator in result)) release();
          return { onEnd: release };
        },
        onSubscribeError: release,
      };
    },
  };
}

// Yoga's executor takes a signal that graphql-js's arguments do not have.
const withSignal = (args: ExecutionArgs, signal: AbortSignal): ExecutionArgs => Object.assign({ ...args }, { signal });

/** Whose the session is; those without an identity are counted by their credential. */
const keyOf = (session: Session | null) =>
  session === null ? "" : session.identityId === null ? `token ${session.tokenId}` : `identity ${session.identityId}`;

/** The refusal of one too many of something that may be open at a time. */
export function rateLimited(limit: string, max: number): GraphQLError {
  return new GraphQLError(`Too many ${limit} are open at a time, at most ${max}: end one first.`, {
    extensions: { code: "RATE_LIMITED", limit, max },
  });
}

function tookTooLong(timeMs: number): GraphQLError {
  const message = `The operation took longer than ${timeMs / 1000} s and was given up. Ask for less at a time; whether a mutation was done, look before you repeat it, or give it an idempotencyKey.`;
  return new GraphQLError(message, { extensions: { code: "TIMEOUT" } });
}
