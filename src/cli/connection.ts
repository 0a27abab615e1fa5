import { UsageFailure } from "./failure.ts";
import { defaultProfile, type Profile, profilesFile, readLocalServer, readProfile, readProfiles } from "./profiles.ts";

/** Where a command sends its requests, and with what credential. */
export interface Connection {
  /** The server's address, without a slash at its end. */
  url: string;
  token: string | null;
  /** Where the token is from, for people. */
  source: string;
}

/** The options of the command line that name a server. */
export interface ConnectionOptions {
  url?: string;
  token?: string;
  profile?: string;
}

const defaultUrl = "http://127.0.0.1:8080";

/**
 * Returns the server to use: that of the options, else of the environment, of the profile, of a server that was started in this
 * directory. A stored token is sent only to the server that it is stored for.
 */
export function findConnection(
  options: ConnectionOptions,
  env: Readonly<Record<string, string | undefined>>,
): Connection {
  const profile = findProfile(options.profile, env);
  const named = options.url ?? (options.profile === undefined ? env["ATTUNE_URL"] || undefined : undefined);
  const local = profile === null ? readLocalServer(env) : null;
  const stored = profile ?? local;
  const url = normalized(named ?? stored?.url ?? defaultUrl);
  const given = options.token ?? (options.profile === undefined ? env["ATTUNE_TOKEN"] || undefined : undefined);
  if (given !== undefined) return { url, token: given, source: options.token ? "--token" : "ATTUNE_TOKEN" };
  if (stored?.token === undefined || normalized(stored.url) !== url) return { url, token: null, source: "none" };
  const source = local ? "the server's data directory" : `profile ${options.profile ?? defaultProfile}`;
  return { url, token: stored.token, source };
}

function findProfile(name: string | undefined, env: Readonly<Record<string, string | undefined>>): Profile | null {
  const found = readProfile(env, name ?? defaultProfile);
  if (found) return found;
  if (name === undefined) return null;
  const names = Object.keys(readProfiles(env));
  throw new UsageFailure(
    `There is no profile "${name}" in ${profilesFile(env)}${names.length > 0 ? `; it has ${names.join(", ")}` : ""}. "attune auth login --profile ${name}" creates it.`,
  );
}

/** Returns the address without what a request does not need. Throws UsageFailure when it is not one. */
export function normalized(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw new UsageFailure(`"${url}" is not the address of a server, such as ${defaultUrl}.`);
  }
  return `${parsed.origin}${parsed.pathname.replace(/\/+$/, "")}`;
}
