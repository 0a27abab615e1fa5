import { readdir, stat } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { createRest } from "../../lib/loop.ts";
import { runProcess } from "../../process/process.ts";
import type { Reach } from "../http.ts";
import { SourceError } from "./archive.ts";
import { type Allowed, checkUrl, limitMs, mostBytes as mostOfArchives } from "./fetch.ts";

/** How often it is looked how much git has written, in milliseconds. */
const watchMs = 200;

interface GitHost {
  /** An empty directory for the repository. */
  directory: string;
  searchPath: string;
  allowed: Allowed;
  /** The addresses that git may connect to. */
  reach: Reach;
  /** Further variables of the processes. */
  variables: Readonly<Record<string, string>>;
  signal: AbortSignal;
  /** How much git may write, for the repository and for the archive; by default as much as an archive may have. */
  mostBytes?: number;
  onOutput(text: string): void;
}

/**
 * Writes the files of a commit of a Git repository into a tar file, and returns the commit. Git connects to an address that was checked, whatever its host
 * resolves to afterwards. Throws SourceError.
 */
export async function fetchCommit(
  { url, ref }: { url: string; ref: string | null },
  file: string,
  host: GitHost,
): Promise<string> {
  const target = checkUrl(url, host.allowed, ["https:", "http:", "file:"]);
  const pinned = await pinnedTo(target, host.reach);
  const protocol = target.protocol.slice(0, -1);
  const git = (...args: string[]) => run(args, { ...host, file, protocol, pinned });
  if (pinned.length > 0) requirePinning(await git("--version"));
  await git("init", "--quiet", "--bare");
  const options = ["--quiet", "--depth", "1", "--no-tags", "--no-recurse-submodules", "--end-of-options"];
  await git("fetch", ...options, url, ref ?? "HEAD");
  const commit = await git("rev-parse", "FETCH_HEAD");
  await git("archive", "--format=tar", `--output=${file}`, commit);
  return commit;
}

/** Throws SourceError for a git before 2.37, which ignores the option of the addresses and would resolve the host by itself. */
function requirePinning(text: string): void {
  const [version = text, major, minor] = /(\d+)\.(\d+)[\d.]*/.exec(text) ?? [];
  if (Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 37)) return;
  throw new SourceError(
    `The worker's Git ${version} is too old: 2.37 or newer connects only to the address that was checked. Update it, or install from an archive.`,
  );
}

/** Returns the options that let git connect to the addresses of the host that requests may reach. */
async function pinnedTo({ protocol, hostname, port }: URL, reach: Reach): Promise<string[]> {
  if (protocol === "file:") return [];
  const addresses = await reach.addressesOf(hostname);
  if (isIP(hostname.replace(/^\[(.*)\]$/, "$1")) !== 0) return [];
  const list = addresses.map(({ address, family }) => (family === 6 ? `[${address}]` : address)).join(",");
  return ["-c", `http.curloptResolve=${hostname}:${port || (protocol === "https:" ? 443 : 80)}:${list}`];
}

async function run(
  args: readonly string[],
  { directory, searchPath, variables, signal, mostBytes = mostOfArchives, onOutput, ...target }: Running,
): Promise<string> {
  const { file, protocol, pinned } = target;
  await using size = watchSize([directory, file], mostBytes);
  let said = "";
  const ended = await runProcess(
    {
      command: "git",
      args: ["-c", "http.followRedirects=false", "-c", "core.hooksPath=/dev/null", ...pinned, ...args],
      cwd: directory,
      env: {
        ...variables,
        PATH: searchPath,
        HOME: directory,
        GIT_ALLOW_PROTOCOL: protocol,
        GIT_TERMINAL_PROMPT: "0",
        GIT_CONFIG_NOSYSTEM: "1",
        GIT_CONFIG_GLOBAL: "/dev/null",
        GIT_ASKPASS: "/bin/false",
        LC_ALL: "C",
      },
      ...{ stdin: null, timeoutMs: limitMs, graceMs: 5000, signal: AbortSignal.any([signal, size.signal]) },
    },
    {
      onOutput: (stream, text) => {
        if (stream !== "stderr") return;
        said = `${said}${text}`.slice(-4000);
        onOutput(text);
      },
    },
  );
  signal.throwIfAborted();
  if (await size.isExceeded()) {
    throw new SourceError(`The repository's files are larger than ${mostBytes / 1024 / 1024} MiB.`);
  }
  if (ended.ended === "exited" && ended.exitCode === 0) return ended.stdout.trim();
  const [, reason = "the log has its output."] = /^(?:fatal|error): (.{1,500})/m.exec(said) ?? [];
  throw new SourceError(
    `git ${args[0]} failed: ${ended.message ?? `it exited with code ${ended.exitCode}: ${reason}`}`,
  );
}

interface Running extends GitHost {
  file: string;
  protocol: string;
  pinned: readonly string[];
}

/** Watches how much is written to paths. The signal is aborted when it is more than that many bytes. */
function watchSize(paths: readonly string[], mostBytes: number) {
  const exceeded = new AbortController();
  const rest = createRest();
  let isEnding = false;
  const isExceeded = async () => {
    const sizes = await Promise.all(paths.map(sizeOf));
    if (sizes.reduce((sum, each) => sum + each, 0) > mostBytes) exceeded.abort();
    return exceeded.signal.aborted;
  };
  const watch = async () => {
    while (!isEnding && !(await isExceeded())) {
      rest.arm();
      if (!isEnding) await rest.sleep(watchMs);
    }
  };
  const watching = watch();
  return {
    signal: exceeded.signal,
    isExceeded,
    [Symbol.asyncDispose]: async () => {
      isEnding = true;
      rest.end();
      await watching;
    },
  };
}

/** Returns the size of the files in a directory, or of one file. What git removes meanwhile counts as nothing. */
async function sizeOf(path: string): Promise<number> {
  const gone = (error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  };
  const found = await stat(path).catch(gone);
  if (found === null || !found.isDirectory()) return found?.size ?? 0;
  const names = (await readdir(path, { recursive: true }).catch(gone)) ?? [];
  const files = await Promise.all(names.map((name) => stat(join(path, name)).catch(gone)));
  return files.reduce((sum, each) => sum + (each?.isFile() ? each.size : 0), 0);
}
