import { GraphQLError } from "graphql";
import type { Plugin } from "graphql-yoga";

const accepted = "application/json, application/graphql-response+json or, for subscriptions, text/event-stream";

/**
 * Understands what clients send beside the query: an empty operation name is none, and a persisted query that comes as a hash only is
 * refused as their protocol has it, so that the client sends its text. Gives a response without an acceptable type a body.
 */
export function useClientHabits(): Plugin {
  return {
    onParams: ({ params, setParams }) => {
      if (params.operationName === "") setParams({ ...params, operationName: undefined });
      if (!params.query && params.extensions?.["persistedQuery"] !== undefined) {
        throw new GraphQLError("PersistedQueryNotSupported", {
          extensions: { code: "PERSISTED_QUERY_NOT_SUPPORTED", http: { status: 200 } },
        });
      }
    },
    onResponse: ({ response, setResponse, fetchAPI }) => {
      if (response.status !== 406 || response.body !== null) return;
      const message = `No type in the header Accept can be sent: it must allow ${accepted}.`;
      const body = `${JSON.stringify({ errors: [{ message, extensions: { code: "NOT_ACCEPTABLE" } }] })}\n`;
      const headers = { ...Object.fromEntries(response.headers), "content-type": "application/json; charset=utf-8" };
      setResponse(new fetchAPI.Response(body, { status: 406, headers }));
    },
  };
}
