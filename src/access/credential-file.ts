import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { findSession } from "./sessions.ts";
import { issueApiToken } from "./token.ts";

/**
 * Writes `credentials.json` (mode 0600) for programs of the same user: the server's URL and an API token of the identity, which is
 * created once and kept while it is valid.
 */
export async function writeCredentialFile(
  services: Services,
  dataDir: string,
  { url, identity }: { url: string; identity: string },
): Promise<void> {
  const file = join(dataDir, "credentials.json");
  mkdirSync(dataDir, { recursive: true });
  const kept = readToken(file);
  const valid = kept !== null && (await findSession(services.db, kept)) !== null;
  // A transaction of its own: the token is written to the file only once it is committed.
  const token = valid ? kept : await write(services, (tx) => issueApiToken(tx, identity, "local cli"));
  writeFileSync(file, `${JSON.stringify({ url, token })}\n`, { mode: 0o600 });
  chmodSync(file, 0o600);
}

function readToken(file: string): string | null {
  try {
    const { token } = JSON.parse(readFileSync(file, "utf8")) as { token?: unknown };
    return typeof token === "string" ? token : null;
  } catch {
    return null; // missing or damaged: a new one is created
  }
}
