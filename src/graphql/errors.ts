import { PothosValidationError } from "@pothos/core";
import { DrizzleQueryError } from "drizzle-orm";
import { GraphQLError, type GraphQLErrorExtensions } from "graphql";
import { handleStreamOrSingleExecutionResult, type Plugin } from "graphql-yoga";
import { Refusal } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Context } from "./context.ts";

/** Where an error came up: what is told with it, and where the unexpected is written down. */
export interface ErrorScope {
  requestId: string;
  log: Log;
}

/**
 * The error as a client may see it. Refusals keep their sentence and get their code and data as extensions; mistakes in the
 * document or its variables are `BAD_USER_INPUT`; anything else is logged and becomes `INTERNAL_SERVER_ERROR` with the
 * request's id and nothing of what happened.
 */
export function maskError(error: unknown, { requestId, log }: ErrorScope): GraphQLError {
  if (error instanceof GraphQLError && "requestId" in error.extensions) return error; // done already
  const original = originalOf(error);
  if (original instanceof Refusal) {
    return placed(error, original.message, { code: original.code, ...dataOf(original), requestId });
  }
  if (original instanceof PothosValidationError || isDataException(original)) {
    const message = original instanceof PothosValidationError ? original.message : "a value is out of its range";
    return placed(error, message, { code: "BAD_USER_INPUT", requestId });
  }
  if (original instanceof GraphQLError) {
    return placed(error, original.message, { code: "BAD_USER_INPUT", ...original.extensions, requestId });
  }
  log.error({ err: original, requestId }, "unexpected error in an operation");
  return placed(error, "Something went wrong on our side; the log has it under this request id.", {
    code: "INTERNAL_SERVER_ERROR",
    requestId,
  });
}

/** What was thrown, below the errors that only say where. */
function originalOf(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError ? originalOf(error.originalError) : error;
}

/** The refusal's own fields, such as `issues` or `oldestCursor`. */
function dataOf(refusal: Refusal): Record<string, unknown> {
  const { name: _name, code: _code, ...data } = { ...refusal };
  return data;
}

/** SQLSTATE class 22: the database could not make sense of a value, such as a number beyond its type. */
function isDataException(error: unknown): boolean {
  if (!(error instanceof DrizzleQueryError)) return false;
  const { cause } = error;
  return typeof cause === "object" && cause !== null && "code" in cause && String(cause.code).startsWith("22");
}

function placed(error: unknown, message: string, extensions: GraphQLErrorExtensions): GraphQLError {
  if (!(error instanceof GraphQLError)) return new GraphQLError(message, { extensions });
  const { nodes, source, positions, path } = error;
  return new GraphQLError(message, { nodes, source, positions, path, extensions });
}

/** Masks the errors of every result and message, under the id of their request. */
export function useMasking(): Plugin<Context> {
  const mask = (context: Context) => (payload: Parameters<typeof handleStreamOrSingleExecutionResult>[0]) =>
    handleStreamOrSingleExecutionResult(payload, ({ result, setResult }) => {
      if (!result.errors) return;
      const scope = { requestId: context.requestId, log: context.engine.log };
      setResult({ ...result, errors: result.errors.map((error) => maskError(error, scope)) });
    });
  return {
    onExecute: ({ args }) => ({ onExecuteDone: mask(args.contextValue) }),
    onSubscribe: ({ args }) => ({ onSubscribeResult: mask(args.contextValue) }),
  };
}
