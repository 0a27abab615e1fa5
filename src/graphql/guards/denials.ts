import { type GraphQLError, getOperationAST, Kind } from "graphql";
import { handleStreamOrSingleExecutionResult, type Plugin } from "graphql-yoga";
import { recordAudit } from "../../access/audit.ts";
import type { Context } from "../kit/context.ts";

const mostPaths = 10;

/**
 * Leaves an entry in the audit trail when a query or a subscription was denied something, once for each request. Nobody
 * waits for it: what cannot be written is logged. Denied mutations tell of themselves.
 */
export function useDenials(): Plugin<Context> {
  const told = new WeakSet<Context>();
  const tell = (
    context: Context,
    operation: string,
    name: string | null | undefined,
    denied: readonly GraphQLError[],
  ) => {
    const [first] = denied;
    if (!first || told.has(context)) return;
    told.add(context);
    const { services, session, ip, requestId } = context;
    recordAudit(services.db, {
      category: "denial",
      eventType: fieldOf(first) ?? operation,
      outcome: "denied",
      session,
      ip,
      requestId,
      resourceType: null,
      resourceRef: null,
      details: {
        operation,
        name: name ?? null,
        paths: denied.slice(0, mostPaths).map(({ path }) => (path ?? []).join(".")),
      },
    }).catch((error: unknown) => services.log.error({ err: error, requestId }, "a denial could not be written down"));
  };
  return {
    onExecute: ({ args: { contextValue: context, document, operationName } }) => {
      const kind = getOperationAST(document, operationName)?.operation ?? "query";
      // The root field of a mutation has written it down itself.
      const depth = kind === "mutation" ? 2 : 1;
      return {
        onExecuteDone: (payload) =>
          handleStreamOrSingleExecutionResult(payload, ({ result }) => {
            tell(context, kind, operationName, denials(result.errors, depth));
          }),
      };
    },
    onSubscribe: ({ args: { contextValue: context, operationName } }) => ({
      onSubscribeResult: (payload) =>
        handleStreamOrSingleExecutionResult(payload as never, ({ result }) => {
          tell(context, "subscription", operationName, denials(result.errors, 0));
        }),
    }),
  };
}

/** The errors that say so, at least so deep. */
function denials(errors: readonly GraphQLError[] | undefined, depth: number): readonly GraphQLError[] {
  return (errors ?? []).filter(
    ({ extensions, path }) => extensions["code"] === "FORBIDDEN" && (path?.length ?? 0) >= depth,
  );
}

function fieldOf({ nodes }: GraphQLError): string | null {
  const [node] = nodes ?? [];
  return node?.kind === Kind.FIELD ? node.name.value : null;
}
