import type { Config } from "../config.ts";
import type { Services } from "../db/services.ts";
import { startClaims } from "../worker/claims.ts";
import { createReach } from "../worker/http.ts";
import { findRuntimes } from "../worker/registry.ts";

const defaultPath = "/usr/local/bin:/usr/bin:/bin";

/** Starts the role `worker` with the runtimes found on this host. `releases` are the directories of the packs' releases by digest. */
export async function startWorker(
  services: Services,
  config: Pick<
    Config,
    | "actionBase"
    | "buildBase"
    | "engineBase"
    | "environmentsDir"
    | "httpAllow"
    | "installDir"
    | "labels"
    | "packIndexes"
    | "packSources"
    | "runAs"
    | "runtimeSlots"
    | "warm"
    | "workerSlots"
    | "workerStopMs"
  >,
  { apiUrl, releases }: { apiUrl: string; releases: ReadonlyMap<string, string> },
): Promise<AsyncDisposable> {
  return await startClaims(services, {
    runtimes: await findRuntimes(services, config.actionBase["PATH"] ?? defaultPath, config.engineBase),
    slots: config.workerSlots,
    runtimeSlots: config.runtimeSlots,
    labels: config.labels,
    warm: config.warm,
    stopMs: config.workerStopMs,
    environmentsDir: config.environmentsDir,
    host: {
      base: config.actionBase,
      buildBase: config.buildBase,
      engineBase: config.engineBase,
      apiUrl,
      runAs: config.runAs,
      releases,
      reach: createReach(config.httpAllow),
      installs: { directory: config.installDir, sources: config.packSources, indexes: config.packIndexes },
    },
  });
}
