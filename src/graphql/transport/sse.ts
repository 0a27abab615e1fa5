import type { ExecutionResult } from "graphql";
import type { Plugin } from "graphql-yoga";
import type { Context } from "../kit/context.ts";

const eventStream = "text/event-stream";
const pingMs = 12_000;

/**
 * Sends subscriptions as event streams. The id of each event is the message's cursor, and the stream opens with the id after which it
 * begins: a browser that reconnects sends the last one as `Last-Event-ID`, and the stream continues after it.
 */
export function useEventIds(): Plugin<Context> {
  const contexts = new WeakMap<Request, Context>();
  return {
    onSubscribe: ({ args: { contextValue } }) => {
      if (contextValue.request) contexts.set(contextValue.request, contextValue);
    },
    onResultProcess: ({ request, result, setResultProcessor }) => {
      if (!(Symbol.asyncIterator in result) || !request.headers.get("accept")?.includes(eventStream)) return;
      const messages = (result as AsyncIterable<ExecutionResult>)[Symbol.asyncIterator](); // a subscription
      setResultProcessor((_result, fetchAPI) => {
        const headers = { "content-type": eventStream, "cache-control": "no-cache", "content-encoding": "none" };
        const opening = idOf(contexts.get(request)?.beginsAfter);
        return new fetchAPI.Response(streamOf(opening, messages, fetchAPI.ReadableStream), { headers });
      }, eventStream);
    },
  };
}

function streamOf(
  opening: string,
  messages: AsyncIterator<ExecutionResult>,
  Stream: typeof ReadableStream<Uint8Array>,
) {
  const encoder = new TextEncoder();
  let ping: NodeJS.Timeout;
  return new Stream({
    start: (controller) => {
      // An id without data changes only the id that the browser remembers.
      if (opening !== "") controller.enqueue(encoder.encode(`${opening}\n`));
      // The first ping tells the client that the stream is open; later ones keep an idle connection open.
      const sendPing = () => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(":\n\n"));
      };
      sendPing();
      ping = setInterval(sendPing, pingMs);
    },
    pull: async (controller) => {
      const { done, value } = await messages.next();
      controller.enqueue(encoder.encode(done ? "event: complete\ndata:\n\n" : eventOf(value)));
      if (!done) return;
      clearInterval(ping);
      controller.close();
    },
    cancel: async () => {
      clearInterval(ping);
      await messages.return?.();
    },
  });
}

function eventOf(result: ExecutionResult): string {
  const [message] = Object.values(result.data ?? {});
  const cursor = typeof message === "object" && message !== null && "cursor" in message ? message.cursor : null;
  return `event: next\n${idOf(cursor)}data: ${JSON.stringify(result)}\n\n`;
}

function idOf(cursor: unknown): string {
  return typeof cursor === "string" && !/[\r\n]/.test(cursor) ? `id: ${cursor}\n` : "";
}
