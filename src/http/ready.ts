import type { ServerResponse } from "node:http";
import { sql } from "drizzle-orm";
import type { Services } from "../db/services.ts";
import { respond } from "./respond.ts";

/** Returns why the server cannot do its work, or null when it can. It answers in time whatever the database does, and never throws. */
export type Readiness = () => Promise<string | null>;

/** Responds to a probe of `/healthz` or `/readyz`. */
export async function respondHealth(
  response: ServerResponse,
  path: "/healthz" | "/readyz",
  readiness: Readiness,
): Promise<void> {
  if (path === "/healthz") return respond(response, 200, { status: "ok" });
  const reason = await readiness();
  if (reason !== null) return respond(response, 503, { status: "not ready", reason });
  respond(response, 200, { status: "ready" });
}

/** A probe that waits longer gets its response without the database's. */
const longestMs = 1500;

/** Returns the readiness of a server with this database, which is ready no sooner than `isStarted` returns true. Probes that overlap share one statement, so that they cannot pile up. */
export function createReadiness({ db, room }: Pick<Services, "db" | "room">, isStarted: () => boolean): Readiness {
  let pending: Promise<string | null> | null = null;
  const ask = async () => {
    try {
      await db.execute(sql`select 1`);
      return null;
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      return `the database cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`;
    } finally {
      pending = null;
    }
  };
  return async () => {
    if (!isStarted()) return "the server is starting";
    const shortage = room.shortage();
    if (shortage !== null) return shortage;
    pending ??= ask();
    const { promise: late, resolve } = Promise.withResolvers<string>();
    const timer = setTimeout(() => resolve(`the database has not responded for ${longestMs} ms`), longestMs);
    const reason = await Promise.race([pending, late]);
    clearTimeout(timer);
    return reason;
  };
}
