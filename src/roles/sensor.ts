import type { Config } from "../config.ts";
import type { Services } from "../db/services.ts";
import { startSensors } from "../sensor/supervise.ts";
import { startTimers } from "../sensor/timer.ts";

/** Starts the role `sensor`: timers, and the sensors of packs. `releases` are the directories of the packs' releases by digest. */
export function startSensor(
  services: Services,
  config: Pick<Config, "actionBase" | "buildBase" | "environmentsDir" | "runAs" | "sensorLeaseMs" | "workerStopMs">,
  { apiUrl, releases }: { apiUrl: string; releases: ReadonlyMap<string, string> },
): AsyncDisposable {
  const parts = new AsyncDisposableStack();
  parts.use(startTimers(services));
  const { actionBase: base, buildBase, runAs, environmentsDir, sensorLeaseMs: leaseMs } = config;
  parts.use(
    startSensors(services, {
      host: { base, buildBase, apiUrl, runAs, releases },
      environmentsDir,
      leaseMs,
      stopMs: config.workerStopMs,
    }),
  );
  return parts;
}
