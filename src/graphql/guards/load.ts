import { type ExecutionArgs, GraphQLError } from "graphql";
import type { Plugin } from "graphql-yoga";
import type { Session } from "../../access/session.ts";
import type { Metrics } from "../../metrics.ts";
import type { Context } from "../kit/context.ts";

export interface LoadLimits {
  /** The timeout of queries and mutations. */
  timeMs: number;
  /** The maximum number of open subscriptions per identity in this process. */
  subscriptions: number;
}

export const loadLimits: LoadLimits = { timeMs: 30_000, subscriptions: 1000 };

/** Ends operations that take too long with TIMEOUT, and refuses too many subscriptions with RATE_LIMITED. */
export function useLoadLimits({ timeMs, subscriptions }: LoadLimits, metrics: Metrics): Plugin<Context> {
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
        // Work in progress is not interrupted: a mutation commits or fails. No further field is resolved.
        const result = Promise.resolve(executeFn(withSignal(args, stopping.signal)));
        try {
          return await Promise.race([result, late.promise]);
        } catch (error) {
          result.catch(() => {}); // errors of the aborted operation; the client has its response
          if (error instanceof GraphQLError) return { errors: [error] };
          throw error;
        } finally {
          clearTimeout(timer);
        }
      });
    },
    onSubscribe: ({ args, subscribeFn, setSubscribeFn, setResultAndStopExecution }) => {
      const key = keyOf(args.contextValue.session);
      const others = open.get(key) ?? 0;
      if (others >= subscriptions) {
        setResultAndStopExecution({ errors: [rateLimited("subscriptions", subscriptions)] });
        return;
      }
      open.set(key, others + 1);
      metrics.subscriptions.inc();
      let held = true;
      const release = () => {
        if (!held) return;
        held = false;
        metrics.subscriptions.dec();
        const left = (open.get(key) ?? 1) - 1;
        if (left > 0) open.set(key, left);
        else open.delete(key);
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

/** The key by which subscriptions are counted: the identity, or the token of a session without one. */
const keyOf = (session: Session | null) =>
  session === null ? "" : session.identityId === null ? `token ${session.tokenId}` : `identity ${session.identityId}`;

/** Returns the error for exceeding a limit on open subscriptions or operations. */
export function rateLimited(limit: string, max: number): GraphQLError {
  return new GraphQLError(`Too many ${limit} are open, at most ${max}: close one first.`, {
    extensions: { code: "RATE_LIMITED", limit, max },
  });
}

function tookTooLong(timeMs: number): GraphQLError {
  const message = `The operation took longer than ${timeMs / 1000} s and was aborted. Request less at a time. A mutation may have succeeded: check before you repeat it, or use an idempotencyKey.`;
  return new GraphQLError(message, { extensions: { code: "TIMEOUT" } });
}
