import { existsSync } from "node:fs";
import { mkdir, rename, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import { readFiles } from "../../catalog/files.ts";
import type { PackOrigin } from "../../catalog/load.ts";
import { type CheckedPack, readPack } from "../../catalog/read.ts";
import { executionVariable, ownName, workerVariable } from "../../lib/action-processes.ts";
import { globalId } from "../../lib/global-id.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import { type RunResult, type Suite, storedResult } from "../../pack-test/result.ts";
import { type LocalEnvironments, localEnvironments } from "../pack-test/local.ts";
import type { HostEnvironment, Run } from "../runtimes/runtime.ts";
import { packRoot, SourceError, unpack } from "./archive.ts";
import { type Checksum, download, reachOf, requireChecksum, type Source } from "./fetch.ts";
import { fetchCommit } from "./git.ts";
import { findInIndexes, type ReadIndexes } from "./registry.ts";
import type { Steps } from "./steps.ts";

/** A reason why a pack is not installed: the step, and what would be right. */
export class InstallError extends Error {
  readonly code: string;
  readonly detail: Json | undefined;
  constructor(code: string, message: string, detail?: Json) {
    super(message);
    this.code = code;
    this.detail = detail;
  }
}

/** Where an installation works, and how it reports what it does. */
export interface Site {
  /** A directory of the pack's own. */
  scratch: string;
  steps: Steps;
  readIndexes: ReadIndexes;
}

/** Where a pack comes from; who installs it is added when it is activated. */
type Origin = Omit<PackOrigin, "installedBy">;

/** The run of a pack's tests. */
export interface TestedPack {
  run: RunResult;
  result: JsonObject;
}

/** A pack that only has to be activated. */
export interface Prepared {
  checked: CheckedPack;
  origin: Origin;
  /** Null: its tests were not run. */
  tests: TestedPack | null;
  /** The version that is installed; null: none. */
  previous: string | null;
}

/** Fetches a pack into the scratch directory, and checks its files. Throws SourceError and InvalidInputError. */
export async function examine(
  run: Run,
  host: HostEnvironment,
  { scratch, steps, readIndexes }: Site,
  source: Source,
): Promise<Pick<Prepared, "checked" | "origin">> {
  const file = join(scratch, "archive");
  let listed: string | null = null;
  const { origin, checksum } = await steps.run("fetch", "fetching the pack", async (say) => {
    const found = source.type === "index" ? await findInIndexes(source, readIndexes) : { source, version: null };
    listed = found.version;
    return await fetchSource(run, host, { source: found.source, scratch, file, say });
  });
  await checkChecksum(steps, checksum);
  const checked = await steps.run("check", "checking its files", async (say) => {
    const files = join(scratch, "files");
    await mkdir(files);
    await unpack(file, files, run.signal);
    const found = await readPack(await packRoot(files));
    const name = `${found.pack.ref} ${found.pack.version}`;
    if (source.type === "index" && name !== `${source.ref} ${listed}`) {
      throw new SourceError(`The index says that this is ${source.ref} ${listed}, and its files are those of ${name}.`);
    }
    say(name);
    return found;
  });
  return { checked, origin };
}

/** Builds a pack's environments, and runs its tests. Throws EnvironmentError, and InstallError where failed tests block it. */
export async function tryOut(
  run: Run,
  host: HostEnvironment,
  { scratch, steps }: Pick<Site, "scratch" | "steps">,
  checked: CheckedPack,
): Promise<TestedPack | null> {
  const environments = localEnvironments(checked, localHost(run, host, scratch));
  await buildAll(steps, checked, environments);
  return await testOf(run, checked, { environments, steps });
}

/** The digest of a commit is its name. */
async function checkChecksum(steps: Steps, checksum: Checksum | null): Promise<void> {
  if (checksum === null) return steps.skip(["checksum"], "a commit is named by its digest");
  const { found, expected } = checksum;
  if (expected === null) return steps.skip(["checksum"], `no SHA-256 was given; it is ${found}`);
  await steps.run("checksum", "comparing its digest", async (say) => {
    requireChecksum(checksum);
    say(`its SHA-256 is ${found}`);
  });
}

async function buildAll(steps: Steps, checked: CheckedPack, environments: LocalEnvironments): Promise<void> {
  const runtimes = Object.keys(checked.environments);
  if (runtimes.length === 0) return steps.skip(["environments"], "it needs none");
  await steps.run("environments", `building its environments: ${runtimes.join(", ")}`, () => environments.build());
}

/** Returns whether an installation was forced. */
export const isForced = ({ config }: Run["claim"]) => config["force"] === true;

/** By them the next attempt finds, and ends, what a lost worker has left running. */
const ownVariables = ({ id }: Run["claim"]) => ({
  [executionVariable]: globalId("Execution", id),
  [workerVariable]: ownName(),
});

function localHost({ claim, signal, onOutput }: Run, host: HostEnvironment, scratch: string) {
  const { interpreters, base, buildBase, runAs } = host;
  return { interpreters, base, buildBase, runAs, scratch, signal, onOutput, variables: ownVariables(claim) };
}

/** Writes the archive of the source into a file. */
async function fetchSource(
  { claim, signal, onOutput, installs }: Run,
  { installs: { sources: allowed }, base }: HostEnvironment,
  { source, scratch, file, say }: { source: Source; scratch: string; file: string; say(message: string): void },
): Promise<{ origin: Origin; checksum: Checksum | null }> {
  const none = { url: null, ref: null, checksum: null };
  switch (source.type) {
    case "artifact":
      say("an archive that was uploaded");
      return { origin: { ...none, type: "artifact" }, checksum: await installs.save(source.id, file) };
    case "archive": {
      say(source.url);
      const checksum = await download(source, file, { allowed, signal });
      return { origin: { ...none, type: "archive", url: source.url, checksum: source.checksum }, checksum };
    }
    case "git": {
      say(source.url);
      const directory = join(scratch, "repository");
      await mkdir(directory);
      const searchPath = base["PATH"] ?? "/usr/local/bin:/usr/bin:/bin";
      const commit = await fetchCommit(source, file, {
        ...{ directory, searchPath, allowed, reach: reachOf(allowed), variables: ownVariables(claim), signal },
        onOutput: (text) => onOutput("stderr", text),
      });
      say(`${source.url} at ${commit}`);
      return { origin: { ...none, type: "git", url: source.url, ref: commit }, checksum: null };
    }
    default:
      throw new SourceError(`Packs do not come from "${String((source as { type: unknown }).type)}".`);
  }
}

/** Runs the tests, unless they are skipped or the pack has none. Throws InstallError where a failure blocks the installation. */
async function testOf(
  { claim, signal, onOutput }: Run,
  checked: CheckedPack,
  { environments, steps }: { environments: LocalEnvironments; steps: Steps },
): Promise<TestedPack | null> {
  const { ref, version, testing } = checked.pack;
  const none = !testing?.enabled
    ? "it has none"
    : claim.config["skip_tests"] === true
      ? "as it was requested"
      : testing.on_failure === "ignore" && "its on_failure is ignore";
  if (none || !testing) {
    steps.skip(["tests"], none || "it has none");
    return null;
  }
  const { paths } = await readFiles(checked.path, () => false);
  return await steps.run("tests", "testing it", async (say) => {
    const onSuite = (name: string, suite: Suite | null) => {
      if (suite === null) return say(`testing: ${name}`);
      onOutput("system", `${name}: ${suite.passed} passed, ${suite.failed} failed, ${suite.skipped} skipped\n`);
    };
    const run = await environments.test(testing, paths, null, onSuite);
    signal.throwIfAborted();
    const result = storedResult({ ref, version }, run, testing.min_pass_rate);
    say(`${run.passed} passed, ${run.failed} failed, ${run.skipped} skipped`);
    if (run.succeeded) return { run, result };
    const reason = `The tests of ${ref} ${version} failed: ${String(result["message"])}`;
    if (testing.on_failure === "block" && !isForced(claim)) throw new InstallError("TESTS_FAILED", reason, result);
    onOutput("system", `${reason} It is installed all the same.\n`);
    return { run, result };
  });
}

/** Moves the files to where they stay, in a directory of their digest, and returns it. */
export async function keepFiles({ path, digest, pack }: CheckedPack, directory: string): Promise<string> {
  const target = join(directory, pack.ref, digest);
  await mkdir(join(directory, pack.ref), { recursive: true, mode: 0o755 });
  if (existsSync(target)) {
    const kept = await readFiles(target, () => false);
    if (kept.digest === digest) {
      await utimes(target, new Date(), new Date()); // it counts as new
      return target;
    }
    await rm(target, { recursive: true, force: true });
  }
  await rename(path, target);
  await utimes(target, new Date(), new Date());
  return target;
}
