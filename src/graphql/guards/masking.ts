import { randomUUID } from "node:crypto";
import { PothosValidationError } from "@pothos/core";
import { DrizzleQueryError } from "drizzle-orm";
import { GraphQLError, type GraphQLErrorExtensions } from "graphql";
import { handleStreamOrSingleExecutionResult, type Plugin } from "graphql-yoga";
import { Refusal } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { Context } from "../kit/context.ts";

/** Where an error came up: what is told with it, and where the unexpected is written down. */
export interface ErrorScope {
  requestId: string;
  log: Log;
  /** Whether what names of the schema are near a wrong one is left out. */
  hideSuggestions?: boolean;
}

/** Every code that an error of an operation may have, but for those of refusals. */
const codes: ReadonlySet<unknown> = new Set([
  "UNAUTHENTICATED",
  "FORBIDDEN",
  "NOT_FOUND",
  "BAD_USER_INPUT",
  "CONFLICT",
  "RATE_LIMITED",
  "QUERY_TOO_COMPLEX",
  "TIMEOUT",
  "INTERNAL_SERVER_ERROR",
]);

/**
 * The error as a client may see it. Refusals keep their sentence and get their code and data as extensions; mistakes in the
 * request, the document or its variables are `BAD_USER_INPUT`; anything else is logged and becomes `INTERNAL_SERVER_ERROR`
 * with the request's id and nothing of what happened.
 */
export function maskError(error: unknown, { requestId, log, hideSuggestions = false }: ErrorScope): GraphQLError {
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
    // What libraries add is theirs: their codes are not ours, and they tell what they caught.
    const { code, originalError: caught, unexpected: _flag, ...data } = original.extensions;
    // A body that cannot be read is a bad request, as it is not an operation that was refused.
    if (caught) data["http"] = { status: 400 };
    const message = hideSuggestions
      ? original.message.replace(/ ?Did you mean (?:"[^"]*"|[^"?])*\?/g, "")
      : original.message;
    return placed(error, message, { ...data, code: codes.has(code) ? code : "BAD_USER_INPUT", requestId });
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

interface MaskingOptions {
  log: Log;
  hideSuggestions: boolean;
}

/**
 * Gives every request an id, which its answer names in `x-request-id`, and masks the errors of every result and message
 * under it.
 */
export function useMasking({ log, hideSuggestions }: MaskingOptions): Plugin<Context, { requestId?: string }> {
  const ids = new WeakMap<Request, string>();
  const masked = (errors: readonly unknown[], requestId: string) =>
    errors.map((error) => maskError(error, { requestId, log, hideSuggestions }));
  const mask = (context: Context) => (payload: Parameters<typeof handleStreamOrSingleExecutionResult>[0]) =>
    handleStreamOrSingleExecutionResult(payload, ({ result, setResult }) => {
      if (result.errors) setResult({ ...result, errors: masked(result.errors, context.requestId) });
    });
  return {
    onRequest: ({ request, serverContext }) => {
      serverContext.requestId ??= randomUUID();
      ids.set(request, serverContext.requestId);
    },
    onRequestParse: ({ request, requestParser }) => {
      if (requestParser || request.method !== "POST") return;
      throw new GraphQLError("Send the operation as application/json.", { extensions: { http: { status: 415 } } });
    },
    onExecute: ({ args }) => ({ onExecuteDone: mask(args.contextValue) }),
    onSubscribe: ({ args }) => ({ onSubscribeResult: mask(args.contextValue) }),
    onResultProcess: ({ request, result, setResult }) => {
      // What went wrong before there was anything to execute.
      if (!("errors" in result) || !result.errors) return;
      setResult({ ...result, errors: masked(result.errors, ids.get(request) ?? randomUUID()) });
    },
    onResponse: ({ request, response }) => {
      const requestId = ids.get(request);
      if (requestId) response.headers.set("x-request-id", requestId);
    },
  };
}
