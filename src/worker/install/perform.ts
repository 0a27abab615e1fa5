import { chmodSync, mkdirSync } from "node:fs";
import { InvalidInputError, type Issue, Refusal } from "../../errors.ts";
import type { ExecutionOutcome } from "../../execution/finish.ts";
import { faultPoint } from "../../lib/fault.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import { createScratch, removeLeftScratch } from "../../lib/scratch.ts";
import { EnvironmentError } from "../../process/environments/environments.ts";
import { startDeadline } from "../deadline.ts";
import { actionError, type HostEnvironment, outcome, type Run, stopped, timedOut } from "../runtimes/runtime.ts";
import { SourceError } from "./archive.ts";
import type { Source } from "./fetch.ts";
import { createIndexCache } from "./index-cache.ts";
import { prepareNeeded, requireNeeds } from "./needed.ts";
import {
  examine,
  InstallError,
  isForced,
  keepFiles,
  type Prepared,
  type Site,
  type TestedPack,
  tryOut,
} from "./prepare.ts";
import type { ReadIndexes } from "./registry.ts";
import type { Activation } from "./rows.ts";
import { createSteps, type Steps } from "./steps.ts";

/**
 * Installs a pack: fetches it, checks its files, builds its environments, runs its tests, and makes it the active release in one transaction. Until
 * then nothing of it is seen, and whatever fails leaves the installed version as it is. It ends with the execution's time-out.
 */
export async function performInstall(run: Run, host: HostEnvironment): Promise<ExecutionOutcome> {
  const { claim } = run;
  const started = performance.now();
  using deadline = startDeadline(claim.timeoutMs);
  const endOf = (error: unknown): ExecutionOutcome => {
    if (run.signal.aborted) return stopped(claim);
    if (deadline.signal.aborted) return timedOut(claim, null);
    const found = reasonOf(error);
    return found ? outcome(claim, "failed", { error: found }) : actionError(claim, error);
  };
  mkdirSync(host.installs.directory, { recursive: true, mode: 0o755 });
  await removeLeftScratch(host.installs.directory);
  const scratch = createScratch(host.installs.directory);
  if (host.runAs !== null) chmodSync(scratch.directory, 0o711); // its tests run as another user
  const signal = AbortSignal.any([run.signal, deadline.signal]);
  const steps = createSteps(run, (error) => endOf(error).reason ?? "it failed");
  try {
    const readIndexes = createReader(run, host, signal);
    const data = await install({ ...run, signal }, host, { scratch: scratch.directory, steps, readIndexes });
    const result = { exit_code: 0, duration_ms: Math.round(performance.now() - started), data };
    return outcome(claim, "completed", { result });
  } catch (error) {
    return endOf(error);
  } finally {
    scratch.remove();
  }
}

/** Returns what reads the indexes: once, however many packs are looked for. An installation always asks whether they have changed. */
function createReader({ installs: { log } }: Run, { installs }: HostEnvironment, signal: AbortSignal): ReadIndexes {
  const { indexes: addresses, sources: allowed, directory } = installs;
  const cache = createIndexCache({ addresses, allowed, directory, ageMs: 0, log });
  let known: ReturnType<ReadIndexes> | null = null;
  return () => {
    known ??= cache.read(signal);
    return known;
  };
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

async function install(run: Run, host: HostEnvironment, site: Site): Promise<JsonObject> {
  const { claim, installs, onOutput } = run;
  const { steps } = site;
  const source = claim.config["source"] as unknown as Source; // as installPack stored it
  const { checked, origin } = await examine(run, host, site, source);
  const { ref, version } = checked.pack;
  const installed = await installs.find(ref);
  const previous = installed?.version ?? null;
  const data = { pack: ref, version, digest: checked.digest, previous_version: previous };
  if (installed?.digest === checked.digest) {
    steps.skip(["dependencies", "environments", "tests", "activate"], `${ref} ${version} is installed already`);
    return { ...data, changed: false, tests: null };
  }
  const needed = await steps.run("dependencies", "checking what it needs", async (say) => {
    if (claim.config["with_dependencies"] !== true) return await requireNeeds(run, site, checked).then(() => []);
    const found = await prepareNeeded(run, host, { site, checked, say });
    if (found.length > 0) say(`it is installed with ${found.map(nameOf).join(", ")}`);
    return found;
  });
  const tests = await tryOut(run, host, site, checked);
  const all = [...needed, { checked, origin, tests, previous }];
  const broken = await activate(run, host, steps, all);
  for (const { message } of broken) onOutput("system", `Forced: ${message}\n`);
  onOutput("stdout", `::progress 100 ${ref} ${version} is installed\n`);
  const failed = all.flatMap((each) => (each.tests && !each.tests.run.succeeded ? [each.tests.result["message"]] : []));
  return {
    ...{ ...data, changed: true, tests: countsOf(tests) },
    ...(claim.config["with_dependencies"] === true ? { dependencies: needed.map(recordOf) } : {}),
    ...(isForced(claim) ? { forced: [...broken.map(({ message }) => message), ...failed.map(String)] } : {}),
  };
}

const nameOf = ({ checked: { pack } }: Prepared) => `${pack.ref} ${pack.version}`;

function countsOf(tests: TestedPack | null): JsonObject | null {
  if (tests === null) return null;
  const { passed, failed, skipped, succeeded } = tests.run;
  return { passed, failed, skipped, succeeded };
}

const recordOf = ({ checked, previous, tests }: Prepared): JsonObject => ({
  ...{ pack: checked.pack.ref, version: checked.pack.version, digest: checked.digest },
  ...{ previous_version: previous, tests: countsOf(tests) },
});

/** Makes the packs active in one transaction, those that others need first. Returns the faults that were passed over because they are forced. */
async function activate(
  { claim, signal, installs }: Run,
  host: HostEnvironment,
  steps: Steps,
  packs: readonly Prepared[],
): Promise<Issue[]> {
  return await steps.run("activate", "activating it", async (say) => {
    signal.throwIfAborted();
    const kept: Activation[] = [];
    for (const { checked, origin, tests } of packs) {
      const path = await keepFiles(checked, host.installs.directory);
      const whose = { ...origin, installedBy: installer(claim.config) };
      kept.push({ source: { ...checked, path }, origin: whose, tests });
    }
    faultPoint("install.moved");
    const forced = await installs.activate(kept, isForced(claim));
    faultPoint("install.after_commit");
    const last = packs.at(-1);
    say(last ? `${nameOf(last)} is installed` : "");
    return forced;
  });
}

const installer = ({ identity }: JsonObject) => (typeof identity === "string" ? identity : null);
