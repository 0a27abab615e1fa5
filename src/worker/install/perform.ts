import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { mkdir, rename, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import { readFiles } from "../../catalog/files.ts";
import type { PackOrigin } from "../../catalog/load.ts";
import { type CheckedPack, readPack } from "../../catalog/read.ts";
import { InvalidInputError, Refusal } from "../../errors.ts";
import type { ExecutionOutcome } from "../../execution/finish.ts";
import { executionVariable, ownName, workerVariable } from "../../lib/action-processes.ts";
import { faultPoint } from "../../lib/fault.ts";
import { globalId } from "../../lib/global-id.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import { createScratch, removeLeftScratch } from "../../lib/scratch.ts";
import { LONGEST_TIMER } from "../../lib/timer.ts";
import { type RunResult, type Suite, storedResult } from "../../pack-test/result.ts";
import { EnvironmentError } from "../../process/environments/environments.ts";
import { type LocalEnvironments, localEnvironments } from "../pack-test/local.ts";
import { actionError, type HostEnvironment, outcome, type Run, stopped, timedOut } from "../runtimes/runtime.ts";
import { packRoot, SourceError, unpack } from "./archive.ts";
import { type Checksum, download, reachOf, requireChecksum, type Source } from "./fetch.ts";
import { fetchCommit } from "./git.ts";
import { findInIndexes, withCommands } from "./registry.ts";
import { createSteps, type Steps } from "./steps.ts";

/** A reason why a pack is not installed: the step, and what would be right. */
class InstallError extends Error {
  readonly code: string;
  readonly detail: Json | undefined;
  constructor(code: string, message: string, detail?: Json) {
    super(message);
    this.code = code;
    this.detail = detail;
  }
}

/**
 * Installs a pack: fetches it, checks its files, builds its environments, runs its tests, and makes it the active release in one transaction. Until
 * then nothing of it is seen, and whatever fails leaves the installed version as it is. It ends with the execution's time-out.
 */
export async function performInstall(run: Run, host: HostEnvironment): Promise<ExecutionOutcome> {
  const { claim } = run;
  const started = performance.now();
  const late = new AbortController();
  const endOf = (error: unknown): ExecutionOutcome => {
    if (run.signal.aborted) return stopped(claim);
    if (late.signal.aborted) return timedOut(claim, null);
    const found = reasonOf(error);
    return found ? outcome(claim, "failed", { error: found }) : actionError(claim, error);
  };
  mkdirSync(host.installs.directory, { recursive: true, mode: 0o755 });
  await removeLeftScratch(host.installs.directory);
  const scratch = createScratch(host.installs.directory);
  if (host.runAs !== null) chmodSync(scratch.directory, 0o711); // its tests run as another user
  const timer = setTimeout(() => late.abort(), Math.min(claim.timeoutMs, LONGEST_TIMER));
  const signal = AbortSignal.any([run.signal, late.signal]);
  const steps = createSteps(run, (error) => endOf(error).reason ?? "it failed");
  try {
    const data = await install({ ...run, signal }, host, { scratch: scratch.directory, steps });
    const result = { exit_code: 0, duration_ms: Math.round(performance.now() - started), data };
    return outcome(claim, "completed", { result });
  } catch (error) {
    return endOf(error);
  } finally {
    clearTimeout(timer);
    scratch.remove();
  }
}

function reasonOf(error: unknown): { code: string; message: string; detail?: Json } | null {
  if (error instanceof InstallError) {
    const { code, message, detail } = error;
    return { code, message, ...(detail === undefined ? {} : { detail }) };
  }
  if (error instanceof SourceError) return { code: "SOURCE_REFUSED", message: error.message };
  if (error instanceof EnvironmentError) return { code: "ENVIRONMENT_FAILED", message: error.message };
  if (error instanceof InvalidInputError) {
    const issues = error.issues.map(({ path, message }) => (path ? `${path}: ${message}` : message));
    return { code: "PACK_INVALID", message: `The pack is not valid:\n${issues.join("\n")}`.slice(0, 16_000) };
  }
  return error instanceof Refusal ? { code: error.code, message: error.message } : null;
}

/** Where an installation works, and how it reports what it does. */
interface Site {
  scratch: string;
  steps: Steps;
}

async function install(run: Run, host: HostEnvironment, { scratch, steps }: Site): Promise<JsonObject> {
  const { claim, signal, onOutput, installs } = run;
  const file = join(scratch, "archive");
  const { origin, checksum } = await steps.run("fetch", "fetching the pack", (say) =>
    fetchSource(run, host, { scratch, file, say }),
  );
  await checkChecksum(steps, checksum);
  const checked = await steps.run("check", "checking its files", async (say) => {
    const files = join(scratch, "files");
    await mkdir(files);
    await unpack(file, files, signal);
    const source = await readPack(await packRoot(files));
    say(`${source.pack.ref} ${source.pack.version}`);
    return source;
  });
  const { ref, version } = checked.pack;
  const installed = await installs.find(ref);
  const data = { pack: ref, version, digest: checked.digest, previous_version: installed?.version ?? null };
  if (installed?.digest === checked.digest) {
    steps.skip(["dependencies", "environments", "tests", "activate"], `${ref} ${version} is installed already`);
    return { ...data, changed: false, tests: null };
  }
  await steps.run("dependencies", "checking what it needs", () => requireNeeds(run, host, checked));
  const environments = localEnvironments(checked, localHost(run, host, scratch));
  await buildAll(steps, checked, environments);
  const tests = await testOf(run, checked, { environments, steps });
  const broken = await steps.run("activate", "activating it", async (say) => {
    signal.throwIfAborted();
    const path = await keepFiles(checked, host.installs.directory);
    faultPoint("install.moved");
    const whose = { ...origin, installedBy: installer(claim.config) };
    const forced = await installs.activate({ ...checked, path }, { origin: whose, tests, isForced: isForced(claim) });
    faultPoint("install.after_commit");
    say(`${ref} ${version} is installed`);
    return forced;
  });
  for (const { message } of broken) onOutput("system", `Forced: ${message}\n`);
  onOutput("stdout", `::progress 100 ${ref} ${version} is installed\n`);
  const { passed = 0, failed = 0, skipped = 0, succeeded = true } = tests?.run ?? {};
  const forced = [...broken.map(({ message }) => message), ...(succeeded ? [] : [String(tests?.result["message"])])];
  return {
    ...{ ...data, changed: true, tests: tests === null ? null : { passed, failed, skipped, succeeded } },
    ...(isForced(claim) ? { forced } : {}),
  };
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

const isForced = ({ config }: Run["claim"]) => config["force"] === true;

/** Throws InvalidInputError when other packs are missing, or would lack this one, before its environments are built. */
async function requireNeeds(
  { claim, signal, installs }: Run,
  host: HostEnvironment,
  checked: CheckedPack,
): Promise<void> {
  const { unmet, others, broken } = await installs.needs(checked);
  const { indexes, sources: allowed } = host.installs;
  const issues = [...(await withCommands(unmet, indexes, { allowed, signal })), ...others];
  if (!isForced(claim)) {
    issues.push(...broken.map(({ path, message }) => ({ path, message: `${message}, or install with --force` })));
  }
  if (issues.length > 0) throw new InvalidInputError(issues);
}

const installer = ({ identity }: JsonObject) => (typeof identity === "string" ? identity : null);

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
  { installs: { sources: allowed, indexes }, base }: HostEnvironment,
  { scratch, file, say }: { scratch: string; file: string; say(message: string): void },
): Promise<{ origin: Omit<PackOrigin, "installedBy">; checksum: Checksum | null }> {
  const given = claim.config["source"] as unknown as Source; // as installPack stored it
  const source = given.type === "index" ? (await findInIndexes(given, indexes, { allowed, signal })).source : given;
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
): Promise<{ run: RunResult; result: JsonObject } | null> {
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
async function keepFiles({ path, digest, pack }: CheckedPack, directory: string): Promise<string> {
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
