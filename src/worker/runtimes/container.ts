import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { ContainerSpec } from "../../catalog/container.ts";
import type { Claim } from "../../execution/claim.ts";
import type { ExecutionOutcome } from "../../execution/finish.ts";
import { ownName, workerOf } from "../../lib/action-processes.ts";
import { isAlive, thisHost } from "../../lib/process-identity.ts";
import { runProcess } from "../../process/process.ts";
import { type HostEnvironment, outcome, type Run, type Runtime } from "./runtime.ts";
import { graceMs, inStage, outcomeOf, type Stage, variablesOf } from "./stage.ts";

const execute = promisify(execFile);
/** How long an order to the engine may take, in milliseconds. */
const orderMs = 30_000;
/** The engine's exit code for an error of its own. */
const engineFailed = 125;

/** Where a container finds the files of its action. */
const inside = {
  pack: "/attune/pack",
  parameters: "/attune/parameters",
  token: "/attune/token",
  artifacts: "/attune/artifacts",
};
const labels = { host: "attune.host", worker: "attune.worker", execution: "attune.execution" };
/** Variables that are about the host's file system. */
const ofHost = new Set([
  ...[
    "PATH",
    "HOME",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
  ],
]);

/** Runs each action in a container of its own, by Docker or Podman. */
export const containerRuntime: Runtime = {
  slots: "process",
  perform: async (run, _entrypoint, host) => {
    const { claim } = run;
    const engine = engineOf(host);
    const directory = claim.release && (host.releases.get(claim.release.digest) ?? claim.release.path);
    if (engine === null || directory === null || claim.container === null) {
      const message = `This worker cannot run ${claim.actionRef} in ${claim.runtimeRef}.`;
      return outcome(claim, "failed", { error: { code: "RUNTIME_UNAVAILABLE", message } });
    }
    const spec = claim.container;
    if (claim.attempt > 1) await removeLeft(engine, `${labels.execution}=${claim.id}`);
    return await inStage(run, host, "container", (stage) => perform(run, host, { engine, directory, spec, stage }));
  },
  start: async (host) => {
    const engine = engineOf(host);
    if (engine !== null) await removeLeft(engine, `${labels.host}=${thisHost()}`);
  },
};

/** The command of Docker or Podman, and its variables. */
interface Engine {
  command: string;
  env: Record<string, string>;
}

function engineOf({ interpreters, base, engineBase }: HostEnvironment): Engine | null {
  const command = interpreters.get("core.action.container");
  const path = base["PATH"] ?? "/usr/local/bin:/usr/bin:/bin";
  return command ? { command, env: { ...engineBase, PATH: path } } : null;
}

interface Plan {
  engine: Engine;
  /** The pack's directory. */
  directory: string;
  spec: ContainerSpec;
  stage: Stage;
}

async function perform(run: Run, host: HostEnvironment, plan: Plan): Promise<ExecutionOutcome> {
  const { engine, stage } = plan;
  const name = `attune-${run.claim.id}-${run.claim.attempt}-${process.pid}`;
  const idFile = join(stage.scratch, "container");
  const base = Object.fromEntries(Object.entries(host.base).filter(([variable]) => !ofHost.has(variable)));
  const { PATH: _hosts, ...variables } = variablesOf(run, host, {
    base,
    artifactsDir: inside.artifacts,
    parameterFile: stage.parameterFile && inside.parameters,
    tokenFile: stage.tokenFile && inside.token,
  });
  const result = await runProcess(
    {
      command: engine.command,
      args: argumentsOf(run.claim, host, { ...plan, name, idFile, variables: Object.keys(variables) }),
      cwd: plan.directory,
      // The container's variables are among the client's: on the command line everybody could read their values.
      env: { ...variables, ...engine.env },
      stdin: stage.stdin,
      timeoutMs: run.claim.timeoutMs,
      graceMs,
      signal: run.signal,
    },
    { onOutput: run.onOutput },
  );
  if (result.ended !== "exited" || result.exitCode === null) {
    await remove(engine, [name]).catch((error: Error) => run.onOutput("system", `${error.message}\n`));
  }
  if (result.exitCode === engineFailed && !wasCreated(idFile)) {
    const message = `The container could not be started: ${engine.command} exited with code ${engineFailed}; the log says why.`;
    return outcome(run.claim, "failed", { error: { code: "CONTAINER_FAILED", message } });
  }
  return outcomeOf(run, result);
}

interface Call extends Plan {
  name: string;
  /** The file that the engine writes the container's id to. */
  idFile: string;
  /** The names of the container's variables. */
  variables: readonly string[];
}

function argumentsOf(claim: Claim, { runAs }: HostEnvironment, call: Call): string[] {
  const { directory, spec, stage, name, idFile, variables } = call;
  const option = (flag: string, values: readonly string[]) => values.flatMap((value) => [flag, value]);
  const { entry_point: entry } = spec;
  return [
    ...["run", "--rm", "--interactive", "--log-driver", "none", "--name", name, "--cidfile", idFile],
    ...option("--label", [
      `${labels.host}=${thisHost()}`,
      `${labels.worker}=${ownName()}`,
      `${labels.execution}=${claim.id}`,
    ]),
    ...["--pull", spec.pull, "--memory", `${spec.memory_mb}m`, "--cpus", String(spec.cpus)],
    ...["--pids-limit", String(spec.pids), "--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
    ...(spec.network === "none" ? ["--network", "none"] : []),
    ...(runAs === null ? [] : ["--user", `${runAs.uid}:${runAs.gid}`]),
    ...option("--mount", [
      bind(directory, inside.pack, true),
      bind(stage.artifactsDir, inside.artifacts, false),
      ...(stage.parameterFile ? [bind(stage.parameterFile, inside.parameters, true)] : []),
      ...(stage.tokenFile ? [bind(stage.tokenFile, inside.token, true)] : []),
    ]),
    ...option("--env", variables),
    ...(entry === null ? [] : ["--workdir", inside.pack]),
    spec.image,
    ...spec.command,
    ...(entry === null ? [] : [`${inside.pack}/${entry}`]),
  ];
}

/** The engines read the option as a line of CSV. */
function bind(source: string, target: string, readonly: boolean): string {
  const field = `source=${source}`;
  const quoted = /[,"]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
  return ["type=bind", quoted, `target=${target}`, ...(readonly ? ["readonly"] : [])].join(",");
}

function wasCreated(idFile: string): boolean {
  try {
    return readFileSync(idFile, "utf8") !== "";
  } catch {
    return false; // the engine writes it when the container exists
  }
}

/**
 * Ends and removes containers. They are killed first: a removal by itself waits ten seconds for them to end. Throws the engine's error, unless it
 * has removed them already.
 */
async function remove({ command, env }: Engine, names: readonly string[]): Promise<void> {
  const isGone = /no such container|no container with (name|id)|not running|can only kill running/i;
  for (const order of [["kill"], ["rm", "--force"]]) {
    await execute(command, [...order, ...names], { env, timeout: orderMs }).catch((error: Error) => {
      if (!isGone.test(error.message)) throw error;
    });
  }
}

/** Removes the containers with the label that dead workers of this host left. */
async function removeLeft({ command, env }: Engine, label: string): Promise<void> {
  const read = async (...args: string[]) => (await execute(command, args, { env, timeout: orderMs })).stdout.trim();
  const ids = await read("ps", "--all", "--quiet", "--no-trunc", "--filter", `label=${label}`);
  if (ids === "") return;
  const format = `{{.Id}} {{index .Config.Labels "${labels.worker}"}}`;
  const found = await read("inspect", "--type", "container", "--format", format, ...ids.split("\n"));
  const left = found.split("\n").flatMap((line) => {
    const [id = "", ...name] = line.split(" ");
    const worker = workerOf(name.join(" "));
    return worker !== null && worker.host === thisHost() && !isAlive(worker) ? [id] : [];
  });
  if (left.length > 0) await remove({ command, env }, left);
}
