import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "drizzle-orm";
import { recordAudit } from "./access/audit.ts";
import { createSignInToken } from "./access/token.ts";
import type { Config } from "./config.ts";
import { openDatabase, rows } from "./db/client.ts";
import { StartError } from "./errors.ts";
import { tryLock } from "./lib/lock.ts";

/**
 * Creates a sign-in link for the identity `admin` and returns the text for the terminal, which contains a credential. A running server with
 * an embedded database creates it itself; else it is written into the database. Throws StartError, naming the cure.
 */
export async function createLink(config: Config): Promise<string> {
  const { enableAuth, databaseUrl, dataDir } = config;
  if (!enableAuth) throw new StartError("Authentication is off: nobody signs in.");
  if (databaseUrl === null && isUsed(dataDir)) return linkText(await askServer(dataDir));
  return linkText(await writeLink(config));
}

/** Returns the text that shows the link. */
export const linkText = (link: string): string => `Sign in (once, within 15 minutes): ${link}\n`;

/** Whether a server uses the data directory. Its credentials are sent to no other process. */
function isUsed(dataDir: string): boolean {
  if (!existsSync(join(dataDir, "pgdata"))) throw notStarted(dataDir);
  const lock = tryLock(dataDir);
  lock?.release();
  return lock === null;
}

const notStarted = (where: string) =>
  new StartError(`There is no database at ${where} that a server has used: start one with these settings first.`);

async function askServer(dataDir: string): Promise<string> {
  const file = join(dataDir, "credentials.json");
  try {
    await appeared(file);
    const { url, token } = JSON.parse(readFileSync(file, "utf8")) as { url: string; token: string };
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${url}/sign-in/link`, { method: "POST", headers, redirect: "error" });
    const answer = (await response.json()) as { path?: string; error?: string };
    if (answer.path === undefined) throw new Error(answer.error ?? `status ${response.status}`);
    return `${url}${answer.path}`;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(
      `The server that uses ${dataDir} made no link with ${file} (${reason}): try again once it has started, or start it anew.`,
      { cause },
    );
  }
}

/** How long a link waits for a server that is starting, in milliseconds. */
const startMs = 10_000;

/** Resolves when the file exists, which a server writes at the end of its start, or when that takes too long. */
async function appeared(file: string): Promise<void> {
  const until = performance.now() + startMs;
  while (!existsSync(file) && performance.now() < until) await sleep(100);
}

async function writeLink({ databaseUrl, dataDir, fsync, host, port }: Config): Promise<string> {
  await using database = await openDatabase({ url: databaseUrl, dataDir, maxConnections: 1, fsync });
  const token = await database.db.transaction(async (db) => {
    const [tables] = await rows<{ exist: boolean }>(db, sql`select to_regclass('attune.token') is not null as exist`);
    const [admin] = tables?.exist
      ? await rows<{ id: string }>(db, sql`select id::text from attune.identity where login = 'admin'`)
      : [];
    if (!admin) throw notStarted(databaseUrl === null ? dataDir : "ATTUNE__DATABASE__URL");
    await recordAudit(db, {
      category: "sign_in",
      eventType: "createSignInLink",
      outcome: "success",
      session: null,
      ip: null,
      requestId: randomUUID(),
      resourceType: "identity",
      resourceRef: "admin",
      details: null,
    });
    return await createSignInToken({ db }, admin.id);
  });
  const address = port === 0 ? "<the server's address>" : `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return `${address}/sign-in#${token}`;
}
