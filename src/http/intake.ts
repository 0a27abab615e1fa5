import type { IncomingMessage, ServerResponse } from "node:http";
import { respond } from "./respond.ts";

/** The bodies that may be held at once, in bytes, and how long a request waits for its place, in milliseconds. */
export interface IntakeLimits {
  bytes: number;
  waitMs: number;
}

/** A body is a few times as large once it is parsed and stored. */
const usualLimits: IntakeLimits = { bytes: 64 * 1024 * 1024, waitMs: 5000 };

/** Bounds the memory that the bodies of requests take. */
export interface Intake {
  /**
   * Waits until there is room for the request's body of at most `limit` bytes, which is not read before, and runs `handle`, during which
   * the body is held. Responds with 503 and Retry-After when there is no room in time.
   */
  admit(request: IncomingMessage, response: ServerResponse, limit: number, handle: () => Promise<void>): Promise<void>;
}

/** Creates the intake of a server. */
export function createIntake({ bytes, waitMs }: IntakeLimits = usualLimits): Intake {
  let free = bytes;
  const waiting = new Set<{ size: number; begin(): void }>();

  /** In the order of arrival: a large body does not wait for ever behind small ones. */
  function beginNext(): void {
    for (const next of waiting) {
      if (next.size > free) return;
      waiting.delete(next);
      free -= next.size;
      next.begin();
    }
  }

  async function enter(size: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const place = { size, begin: () => resolve(true) };
    waiting.add(place);
    beginNext();
    const late = setTimeout(() => {
      if (waiting.delete(place)) resolve(false);
      beginNext();
    }, waitMs);
    const entered = await promise;
    clearTimeout(late);
    return entered;
  }

  return {
    admit: async (request, response, limit, handle) => {
      // A body of unknown length may take its limit; one that is too long is refused before it is read.
      const unknown = request.headers["transfer-encoding"] === undefined ? 0 : limit;
      const size = Math.min(Number(request.headers["content-length"] ?? unknown), limit, bytes);
      if (!(await enter(size))) {
        const headers = { "retry-after": "5", connection: "close" }; // the body is unread
        return respond(response, 503, { error: "too many requests are being received: try again" }, headers);
      }
      try {
        await handle();
      } finally {
        free += size;
        beginNext();
      }
    },
  };
}
