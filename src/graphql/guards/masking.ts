import { randomUUID } from "node:crypto";
import { PothosValidationError } from "@pothos/core";
import { DrizzleQueryError } from "drizzle-orm";
import { type ExecutionArgs, GraphQLError, type GraphQLErrorExtensions, getOperationAST } from "graphql";
import { handleStreamOrSingleExecutionResult, type Plugin } from "graphql-yoga";
import { isPassing } from "../../db/passing.ts";
import { Refusal } from "../../errors.ts";
import { parseExactly } from "../../lib/json-text.ts";
import type { Log } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import type { Context } from "../kit/context.ts";

/** The context of an error: the request, and the log for unexpected errors. */
export interface ErrorScope {
  requestId: string;
  log: Log;
  /** Whether to remove suggestions of similar names in the schema. */
  hideSuggestions?: boolean;
}

/** The codes of errors that are not refusals. */
const codes: ReadonlySet<unknown> = new Set([
  "UNAUTHENTICATED",
  "FORBIDDEN",
  "NOT_FOUND",
  "BAD_USER_INPUT",
  "CONFLICT",
  "RATE_LIMITED",
  "QUERY_TOO_COMPLEX",
  "PERSISTED_QUERY_NOT_SUPPORTED",
  "TIMEOUT",
  "INTERNAL_SERVER_ERROR",
]);

/**
 * Returns the error that the client receives. Refusals keep their message, with their code and data as extensions; errors in
 * the request, the document or its variables become `BAD_USER_INPUT`. All others are logged and become
 * `INTERNAL_SERVER_ERROR` with the request's id and no details.
 */
export function maskError(error: unknown, { requestId, log, hideSuggestions = false }: ErrorScope): GraphQLError {
  if (isMasked(error)) return error;
  const original = originalOf(error);
  if (original instanceof Refusal) {
    return placed(error, original.message, { code: original.code, ...dataOf(original), requestId });
  }
  if (original instanceof PothosValidationError || isDataException(original)) {
    const message = original instanceof PothosValidationError ? original.message : "a value is out of its range";
    return placed(error, message, { code: "BAD_USER_INPUT", requestId });
  }
  if (original instanceof GraphQLError) {
    // Libraries add codes that the API does not have, and errors that must not be exposed.
    const { code, originalError: caught, unexpected: _flag, ...data } = original.extensions;
    // A body that cannot be parsed is a bad request.
    if (caught) data["http"] = { status: 400 };
    const message = hideSuggestions
      ? original.message.replace(/ ?Did you mean (?:"[^"]*"|[^"?])*\?/g, "")
      : original.message;
    return placed(error, message, { ...data, code: codes.has(code) ? code : "BAD_USER_INPUT", requestId });
  }
  if (isCancelled(original)) {
    const message =
      "The database took longer than 10 s for a part of the operation and was stopped. Request less at a time.";
    return placed(error, message, { code: "TIMEOUT", requestId });
  }
  if (isPassing(original)) {
    log.warn({ err: original, requestId }, "an operation failed for lack of the database");
    const message =
      "The database cannot be used at the moment: repeat the request, a mutation with its idempotencyKey.";
    return placed(error, message, { code: "UNAVAILABLE", requestId });
  }
  log.error({ err: original, requestId }, "unexpected error in an operation");
  return placed(error, "An unexpected error occurred; the server log contains it under this request id.", {
    code: "INTERNAL_SERVER_ERROR",
    requestId,
  });
}

const isMasked = (error: unknown): error is GraphQLError =>
  error instanceof GraphQLError && "requestId" in error.extensions;

/** Returns the error that was thrown originally, without the GraphQL errors that wrap it. */
function originalOf(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError ? originalOf(error.originalError) : error;
}

/** The refusal's own fields, such as `issues` or `oldestCursor`. */
function dataOf(refusal: Refusal): Record<string, unknown> {
  const { name: _name, code: _code, ...data } = { ...refusal };
  return data;
}

/** SQLSTATE 57014: the statement was cancelled, because it took too long. */
function isCancelled(error: unknown): boolean {
  return codeOf(error) === "57014";
}

function codeOf(error: unknown): string {
  if (!(error instanceof DrizzleQueryError)) return "";
  const { cause } = error;
  return typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : "";
}

/** SQLSTATE class 22: a value that the database cannot store, such as a number out of range. */
function isDataException(error: unknown): boolean {
  return codeOf(error).startsWith("22");
}

function placed(error: unknown, message: string, extensions: GraphQLErrorExtensions): GraphQLError {
  if (!(error instanceof GraphQLError)) return new GraphQLError(message, { extensions });
  const { nodes, source, positions, path } = error;
  return new GraphQLError(message, { nodes, source, positions, path, extensions });
}

interface MaskingOptions {
  log: Log;
  metrics: Metrics;
  hideSuggestions: boolean;
}

/** Assigns an id to each request, sends it as `x-request-id`, and masks the errors of all results and messages with it. */
export function useMasking({ log, metrics, hideSuggestions }: MaskingOptions): Plugin<Context, { requestId?: string }> {
  const ids = new WeakMap<Request, string>();
  const masked = (errors: readonly unknown[], requestId: string) =>
    errors.map((error) => maskError(error, { requestId, log, hideSuggestions }));
  const count = (kind: string, errors: readonly GraphQLError[] | undefined) =>
    metrics.operations.inc({ kind, code: errors?.[0] ? String(errors[0].extensions["code"]) : "OK" });
  const mask = (args: ExecutionArgs) => (payload: Parameters<typeof handleStreamOrSingleExecutionResult>[0]) => {
    const kind = getOperationAST(args.document, args.operationName)?.operation ?? "none";
    const isStream = Symbol.asyncIterator in payload.result;
    if (isStream) count(kind, undefined);
    return handleStreamOrSingleExecutionResult(payload, ({ result, setResult }) => {
      const errors = result.errors && masked(result.errors, (args.contextValue as Context).requestId);
      if (errors) setResult({ ...result, errors });
      if (!isStream) count(kind, errors);
    });
  };
  return {
    onRequest: ({ request, serverContext }) => {
      serverContext.requestId ??= randomUUID();
      ids.set(request, serverContext.requestId);
    },
    onRequestParse: ({ request, requestParser, setRequestParser }) => {
      if (requestParser) {
        return setRequestParser((given) => {
          given.json = async () => parseExactly(await given.text()); // which yoga's parser calls
          return requestParser(given);
        });
      }
      if (request.method !== "POST") return;
      throw new GraphQLError("Send the operation as application/json.", { extensions: { http: { status: 415 } } });
    },
    onExecute: ({ args }) => ({ onExecuteDone: mask(args) }),
    onSubscribe: ({ args }) => ({ onSubscribeResult: mask(args) }),
    onResultProcess: ({ request, result, setResult }) => {
      // Errors before the execution.
      if (!("errors" in result) || !result.errors) return;
      const isNew = result.errors.some((error) => !isMasked(error));
      const errors = masked(result.errors, ids.get(request) ?? randomUUID());
      setResult({ ...result, errors });
      if (isNew) count("none", errors);
    },
    onResponse: ({ request, response }) => {
      const requestId = ids.get(request);
      if (requestId) response.headers.set("x-request-id", requestId);
    },
  };
}
