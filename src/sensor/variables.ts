import { executionVariable, ownName, workerVariable } from "../lib/action-processes.ts";
import { globalId } from "../lib/global-id.ts";
import type { KnownSensor } from "./wanted.ts";

/** The system takes no longer variable than 128 KiB. */
const longestVariable = 96 * 1024;

/** Returns the variables of a sensor's process, besides those of its environment. docs/sensors.md describes them. */
export function sensorVariables(
  { id, ref, packRef, rules }: KnownSensor,
  host: { base: Readonly<Record<string, string>>; apiUrl: string; runAs: object | null },
  files: { scratch: string; tokenFile: string; parameterFile: string; triggersFile: string },
): Record<string, string> {
  const triggers = JSON.stringify(rules);
  return {
    ...host.base,
    PATH: host.base["PATH"] ?? "/usr/local/bin:/usr/bin:/bin",
    // The home of the server's own user is closed to another one.
    ...(host.runAs === null ? {} : { HOME: files.scratch }),
    [executionVariable]: globalId("Sensor", id),
    [workerVariable]: ownName(),
    ATTUNE_SENSOR: ref,
    ATTUNE_PACK_REF: packRef ?? "",
    ATTUNE_API_URL: host.apiUrl,
    ATTUNE_TOKEN_FILE: files.tokenFile,
    ATTUNE_PARAMETER_FILE: files.parameterFile,
    ATTUNE_SENSOR_TRIGGERS_FILE: files.triggersFile,
    ...(Buffer.byteLength(triggers) <= longestVariable ? { ATTUNE_SENSOR_TRIGGERS: triggers } : {}),
  };
}
