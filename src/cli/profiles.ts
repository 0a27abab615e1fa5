import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { Failure, UsageFailure } from "./failure.ts";

/** A server and the credential for it. */
export interface Profile {
  url: string;
  token?: string;
}

type Env = Readonly<Record<string, string | undefined>>;

/** The file of profiles: `$XDG_CONFIG_HOME/attune/config.json`. */
export const profilesFile = (env: Env): string =>
  join(env["XDG_CONFIG_HOME"] || join(env["HOME"] || homedir(), ".config"), "attune", "config.json");

/** The profile that is used where none is named. */
export const defaultProfile = "default";

/** Returns the profile of that name; undefined if there is none. */
export function readProfile(env: Env, name: string): Profile | undefined {
  const profiles = readProfiles(env);
  return Object.hasOwn(profiles, name) ? profiles[name] : undefined;
}

/** Returns all profiles by name; none if there is no file. */
export function readProfiles(env: Env): Record<string, Profile> {
  const file = profilesFile(env);
  const text = readIfThere(file);
  if (text === null) return {};
  const profiles = (parse(text) as { profiles?: unknown } | null)?.profiles;
  const isProfile = (value: unknown) => typeof (value as Profile | null)?.url === "string";
  if (typeof profiles !== "object" || profiles === null || !Object.values(profiles).every(isProfile)) {
    throw new Failure(`${file} is damaged: delete it, and sign in again with "attune auth login".`);
  }
  return profiles as Record<string, Profile>;
}

/** Throws UsageFailure when a profile cannot have that name. */
export function checkProfileName(name: string): void {
  if (/^[a-z0-9][\w.-]{0,63}$/i.test(name)) return;
  throw new UsageFailure(`"${name}" is no name for a profile: use letters, digits, _, - and dots.`);
}

/** Stores a profile, or removes it; only its owner can read the file, and a reader never finds half of it. */
export function storeProfile(env: Env, name: string, profile: Profile | null): void {
  const { [name]: _replaced, ...others } = readProfiles(env);
  const file = profilesFile(env);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const next = `${file}.${randomBytes(6).toString("hex")}`;
  const profiles = profile === null ? others : { ...others, [name]: profile };
  writeFileSync(next, `${JSON.stringify({ profiles }, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  chmodSync(next, 0o600);
  renameSync(next, file);
}

/**
 * Returns the address and the token that a server with an embedded database leaves in its data directory, for commands in the directory in
 * which it was started. Another user's file, one that others may read and one that names another machine are not used.
 */
export function readLocalServer(env: Env): Profile | null {
  const file = join(env["ATTUNE__DATA_DIR"] || ".attune", "credentials.json");
  const text = readIfThere(file);
  if (text === null) return null;
  const { uid, mode } = statSync(file);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) return null;
  const found = parse(text) as Partial<Profile> | null;
  if (typeof found?.url !== "string" || typeof found.token !== "string" || !URL.canParse(found.url)) return null;
  const local = ["127.0.0.1", "[::1]", "localhost", "0.0.0.0", "[::]"].includes(new URL(found.url).hostname);
  return local ? { url: found.url, token: found.token } : null;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new Failure(`The file cannot be read: ${message}.`, { cause: error });
  }
}
