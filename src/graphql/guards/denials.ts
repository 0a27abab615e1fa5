import { type GraphQLError, getOperationAST, Kind } from "graphql";
import { handleStreamOrSingleExecutionResult, type Plugin } from "graphql-yoga";
import { recordAudit } from "../../access/audit.ts";
import type { Context } from "../kit/context.ts";

const maxPaths = 10;

/**
 * Records denials of queries and subscriptions in the audit trail, once per request. The response does not wait for the
 * record; a failure to write it is logged. Mutations record their own denials.
 */
export function useDenials(): Plugin<Context> {
  const recorded = new WeakSet<Context>();
  const record = (
    context: Context,
    operation: string,
    name: string | null | undefined,
    denied: readonly GraphQLError[],
  ) => {
    const [first] = denied;
    if (!first || recorded.has(context)) return;
    recorded.add(context);
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
        paths: denied.slice(0, maxPaths).map(({ path }) => (path ?? []).join(".")),
      },
    }).catch((error: unknown) => services.log.error({ err: error, requestId }, "a denial could not be recorded"));
  };
  return {
    onExecute: ({ args: { contextValue: context, document, operationName } }) => {
      const kind = getOperationAST(document, operationName)?.operation ?? "query";
      // The root field of a mutation records its own denial.
      const depth = kind === "mutation" ? 2 : 1;
      return {
        onExecuteDone: (payload) =>
          handleStreamOrSingleExecutionResult(payload, ({ result }) => {
            record(context, kind, operationName, denials(result.errors, depth));
          }),
      };
    },
    onSubscribe: ({ args: { contextValue: context, operationName } }) => ({
      onSubscribeResult: (payload) =>
        handleStreamOrSingleExecutionResult(payload as never, ({ result }) => {
          record(context, "subscription", operationName, denials(result.errors, 0));
        }),
    }),
  };
}

/** Returns the FORBIDDEN errors whose paths have at least `depth` segments. */
function denials(errors: readonly GraphQLError[] | undefined, depth: number): readonly GraphQLError[] {
  return (errors ?? []).filter(
    ({ extensions, path }) => extensions["code"] === "FORBIDDEN" && (path?.length ?? 0) >= depth,
  );
}

function fieldOf({ nodes }: GraphQLError): string | null {
  const [node] = nodes ?? [];
  return node?.kind === Kind.FIELD ? node.name.value : null;
}
