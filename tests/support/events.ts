import { request as httpRequest } from "node:http";

/** One server-sent event. */
export interface Sent {
  event: string | null;
  id: string | null;
  data: string;
}

/** An event stream as a browser's `EventSource` reads it. */
export interface EventStream {
  status: number;
  seen: Sent[];
  /** Cuts the connection. */
  abort(): void;
  /** Resolves when the server has ended the stream or the connection was cut. */
  ended: Promise<void>;
}

/** Subscribes with GET; resolves when the stream is open. */
export function openEvents(
  server: { url: string; token: string },
  operation: { query: string; variables?: Record<string, unknown> },
  headers: Record<string, string> = {},
): Promise<EventStream> {
  const address = new URL("/graphql", server.url);
  address.searchParams.set("query", operation.query);
  if (operation.variables) address.searchParams.set("variables", JSON.stringify(operation.variables));
  const sent = { accept: "text/event-stream", authorization: `Bearer ${server.token}`, ...headers };
  return new Promise((resolve, reject) => {
    const request = httpRequest(address, { headers: sent }, (response) => {
      const seen: Sent[] = [];
      const ended = Promise.withResolvers<void>();
      const stream = { status: response.statusCode ?? 0, seen, abort: () => request.destroy(), ended: ended.promise };
      let rest = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        const blocks = `${rest}${text}`.split("\n\n");
        rest = blocks.pop() ?? "";
        seen.push(...blocks.filter((block) => /^data/m.test(block)).map(parse)); // others are no events
        resolve(stream); // the first block opens the stream
      });
      response.on("close", () => {
        resolve(stream);
        ended.resolve();
      });
    });
    request.on("error", reject); // no effect after the first event
    request.end();
  });
}

function parse(block: string): Sent {
  const field = (name: string) => new RegExp(`^${name}: ?(.*)$`, "m").exec(block)?.[1] ?? null;
  return { event: field("event"), id: field("id"), data: field("data") ?? "" };
}
