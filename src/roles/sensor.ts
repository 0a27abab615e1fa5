import type { Services } from "../db/services.ts";
import { startTimers } from "../sensor/timer.ts";

/** Starts the role `sensor`: timers. */
export function startSensor(services: Services): AsyncDisposable {
  return startTimers(services);
}
