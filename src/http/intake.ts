import type { IncomingMessage, ServerResponse } from "node:http";
import { respond } from "./respond.ts";

/** The bodies that may be held at once, in bytes, and how long a request waits for its place, in milliseconds. */
export interface IntakeLimits {
  bytes: number;
  waitMs: number;
}

/** A body is a few times as large once it is parsed and stored. */
const usualLimits: IntakeLimits = { bytes: 64 * 1024 * 1024, waitMs: 5000 };
/** The embedded database stores one body after another, and a large one takes it a good part of a second: all other requests wait for those. */
export const embeddedLimits: IntakeLimits = { bytes: 1024 * 1024, waitMs: 15_000 };

/** Bounds the memory that the bodies of requests take. */
export interface Intake {
  /**
   * Waits until there is room for the request's body of at most `limit` bytes, which is not read before, and runs `handle`, during which
   * the body is held. Responds with 503 and Retry-After when there is no room in time.
   */
  admit(request: IncomingMessage, response: ServerResponse, limit: number, handle: () => Promise<void>): Promise<void>;
}

/** Bodies up to this size never wait for larger ones: they take little, and most requests have no more. */
const smallBytes = 16 * 1024;
/** The share of the bytes that small bodies have besides. */
const smallShare = 1 / 8;

/** Creates the intake of a server. */
export function createIntake({ bytes, waitMs }: IntakeLimits = usualLimits): Intake {
  const [large, small] = [createLane(bytes, waitMs), createLane(bytes * smallShare, waitMs)];
  return {
    admit: async (request, response, limit, handle) => {
      // A body of unknown length may take its limit; one that is too long is refused before it is read.
      const unknown = request.headers["transfer-encoding"] === undefined ? 0 : limit;
      const size = Math.min(Number(request.headers["content-length"] ?? unknown), limit, bytes);
      const lane = size > smallBytes ? large : small;
      if (!(await lane.enter(size))) {
        const headers = { "retry-after": "5", connection: "close" }; // the body is unread
        return respond(response, 503, { error: "too many requests are being received: try again" }, headers);
      }
      try {
        await handle();
      } finally {
        lane.leave(size);
      }
    },
  };
}

/** Room for bodies, which is given in the order of arrival: a large one does not wait for ever behind smaller ones. */
function createLane(bytes: number, waitMs: number) {
  let free = bytes;
  const waiting = new Set<{ size: number; begin(): void }>();
  const beginNext = () => {
    for (const next of waiting) {
      if (next.size > free) return;
      waiting.delete(next);
      free -= next.size;
      next.begin();
    }
  };
  return {
    /** Returns whether there was room in time. */
    enter: async (size: number): Promise<boolean> => {
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
    },
    leave: (size: number): void => {
      free += size;
      beginNext();
    },
  };
}
