import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { mkdir, rename, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import { readFiles } from "../../catalog/files.ts";
import type { PackOrigin } from "../../catalog/load.ts";
import { type CheckedPack, readPack } from "../../catalog/read.ts";
import { InvalidInputError, Refusal } from "../../errors.ts";
import type { ExecutionOutcome } from "../../execution/finish.ts";
import { faultPoint } from "../../lib/fault.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import { createScratch, removeLeftScratch } from "../../lib/scratch.ts";
import { type RunResult, type Suite, storedResult } from "../../pack-test/result.ts";
import { EnvironmentError } from "../../process/environments/environments.ts";
import { type LocalEnvironments, localEnvironments } from "../pack-test/local.ts";
import { actionError, type HostEnvironment, outcome, type Run, stopped } from "../runtimes/runtime.ts";
import { packRoot, SourceError, unpack } from "./archive.ts";
import { download, fetchCommit, type Source } from "./fetch.ts";
import { findInIndexes, withCommands } from "./registry.ts";

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
 * then nothing of it is seen, and whatever fails leaves the installed version as it is.
 */
export async function performInstall(run: Run, host: HostEnvironment): Promise<ExecutionOutcome> {
  const { claim, signal } = run;
  const started = performance.now();
  mkdirSync(host.installs.directory, { recursive: true, mode: 0o755 });
  await removeLeftScratch(host.installs.directory);
  const scratch = createScratch(host.installs.directory);
  if (host.runAs !== null) chmodSync(scratch.directory, 0o711); // its tests run as another user
  try {
    const data = await install(run, host, scratch.directory);
    const result = { exit_code: 0, duration_ms: Math.round(performance.now() - started), data };
    return outcome(claim, "completed", { result });
  } catch (error) {
    if (signal.aborted) return stopped(claim);
    const found = reasonOf(error);
    return found ? outcome(claim, "failed", { error: found }) : actionError(claim, error);
  } finally {
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

async function install(run: Run, host: HostEnvironment, scratch: string): Promise<JsonObject> {
  const { claim, onOutput, installs } = run;
  const step = (percent: number, text: string) => onOutput("stdout", `::progress ${percent} ${text}\n`);
  step(5, "fetching the pack");
  const files = join(scratch, "files");
  await mkdir(files);
  const origin = await fetchSource(run, host, { scratch, files });
  step(25, "checking its files");
  const checked = await readPack(await packRoot(files));
  const { ref, version } = checked.pack;
  const installed = await installs.find(ref);
  const data = { pack: ref, version, digest: checked.digest, previous_version: installed?.version ?? null };
  if (installed?.digest === checked.digest) return { ...data, changed: false, tests: null };
  step(35, "checking what it needs");
  await requireNeeds(run, host, checked);
  const environments = localEnvironments(checked, localHost(run, host, scratch));
  step(40, "building its environments");
  await environments.build();
  const tests = await testOf(run, checked, environments, (text) => step(60, text));
  faultPoint("install.tested");
  step(90, "activating it");
  const path = await keepFiles(checked, host.installs.directory);
  faultPoint("install.moved");
  const broken = await installs.activate(
    { ...checked, path },
    { origin: { ...origin, installedBy: installer(claim.config) }, tests, isForced: isForced(claim) },
  );
  for (const { message } of broken) onOutput("system", `Forced: ${message}\n`);
  faultPoint("install.after_commit");
  step(100, `${ref} ${version} is installed`);
  const { passed = 0, failed = 0, skipped = 0, succeeded = true } = tests?.run ?? {};
  const forced = [...broken.map(({ message }) => message), ...(succeeded ? [] : [String(tests?.result["message"])])];
  return {
    ...{ ...data, changed: true, tests: tests === null ? null : { passed, failed, skipped, succeeded } },
    ...(isForced(claim) ? { forced } : {}),
  };
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

function localHost({ signal, onOutput }: Run, host: HostEnvironment, scratch: string) {
  const { interpreters, base, buildBase, runAs } = host;
  return { interpreters, base, buildBase, runAs, scratch, signal, onOutput, variables: {} };
}

/** Writes the files of the source into the directory `files`. */
async function fetchSource(
  { claim, signal, onOutput, installs }: Run,
  { installs: { sources: allowed, indexes }, base }: HostEnvironment,
  { scratch, files }: { scratch: string; files: string },
): Promise<Omit<PackOrigin, "installedBy">> {
  const given = claim.config["source"] as unknown as Source; // as installPack stored it
  const source = given.type === "index" ? (await findInIndexes(given, indexes, { allowed, signal })).source : given;
  const file = join(scratch, "archive");
  const none = { url: null, ref: null, checksum: null };
  switch (source.type) {
    case "artifact":
      await installs.save(source.id, file);
      await unpack(file, files, signal);
      return { ...none, type: "artifact" };
    case "archive":
      await download(source, file, { allowed, signal });
      await unpack(file, files, signal);
      return { ...none, type: "archive", url: source.url, checksum: source.checksum };
    case "git": {
      const directory = join(scratch, "repository");
      await mkdir(directory);
      const searchPath = base["PATH"] ?? "/usr/local/bin:/usr/bin:/bin";
      const onText = (text: string) => onOutput("stderr", text);
      const commit = await fetchCommit(source, file, { directory, searchPath, allowed, signal, onOutput: onText });
      await unpack(file, files, signal);
      return { ...none, type: "git", url: source.url, ref: commit };
    }
    default:
      throw new SourceError(`Packs do not come from "${String((source as { type: unknown }).type)}".`);
  }
}

/** Runs the tests, unless they are skipped or the pack has none. Throws InstallError where a failure blocks the installation. */
async function testOf(
  { claim, onOutput }: Run,
  checked: CheckedPack,
  environments: LocalEnvironments,
  step: (text: string) => void,
): Promise<{ run: RunResult; result: JsonObject } | null> {
  const { ref, version, testing } = checked.pack;
  if (!testing?.enabled || claim.config["skip_tests"] === true || testing.on_failure === "ignore") return null;
  const { paths } = await readFiles(checked.path, () => false);
  const onSuite = (name: string, suite: Suite | null) => {
    if (suite === null) return step(`testing: ${name}`);
    onOutput("system", `${name}: ${suite.passed} passed, ${suite.failed} failed, ${suite.skipped} skipped\n`);
  };
  const run = await environments.test(testing, paths, null, onSuite);
  const result = storedResult({ ref, version }, run, testing.min_pass_rate);
  if (run.succeeded) return { run, result };
  const reason = `The tests of ${ref} ${version} failed: ${String(result["message"])}`;
  if (testing.on_failure === "block" && !isForced(claim)) throw new InstallError("TESTS_FAILED", reason, result);
  onOutput("system", `${reason} It is installed all the same.\n`);
  return { run, result };
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
