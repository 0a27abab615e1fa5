import type { ExecutionResult } from "graphql";
import type { Plugin } from "graphql-yoga";

const eventStream = "text/event-stream";
const pingMs = 12_000;

/**
 * Sends subscriptions as event streams in which each message has its cursor as the event's id: a browser that loses the
 * connection sends the last one back as `Last-Event-ID`, and the stream goes on right behind it.
 */
export function useEventIds(): Plugin {
  return {
    onResultProcess: ({ request, result, setResultProcessor }) => {
      if (!(Symbol.asyncIterator in result) || !request.headers.get("accept")?.includes(eventStream)) return;
      const messages = (result as AsyncIterable<ExecutionResult>)[Symbol.asyncIterator](); // of a subscription
      setResultProcessor((_result, fetchAPI) => {
        const headers = { "content-type": eventStream, "cache-control": "no-cache", "content-encoding": "none" };
        return new fetchAPI.Response(streamOf(messages, fetchAPI.ReadableStream), { headers });
      }, eventStream);
    },
  };
}

function streamOf(messages: AsyncIterator<ExecutionResult>, Stream: typeof ReadableStream<Uint8Array>) {
  const encoder = new TextEncoder();
  let ping: NodeJS.Timeout;
  return new Stream({
    start: (controller) => {
      // Said at once, so that the client knows that the stream is open, and again while nothing else is, to keep it so.
      const say = () => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(":\n\n"));
      };
      say();
      ping = setInterval(say, pingMs);
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
  const id = typeof cursor === "string" && !/[\r\n]/.test(cursor) ? `id: ${cursor}\n` : "";
  return `event: next\n${id}data: ${JSON.stringify(result)}\n\n`;
}
