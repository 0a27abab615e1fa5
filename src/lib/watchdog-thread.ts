// The other thread of `watchdog.ts`.
import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import type { WatchdogData } from "./watchdog.ts";

const { beats, limitSeconds, message } = workerData as WatchdogData;
let last = 0;
let silentSeconds = 0;

// Its own ticks are counted, not the time: it does not tick while the process is stopped either.
setInterval(() => {
  const count = Atomics.load(beats, 0);
  silentSeconds = count === last && count !== -1 ? silentSeconds + 1 : 0;
  last = count;
  if (silentSeconds < limitSeconds) return;
  writeSync(2, message);
  process.kill(process.pid, "SIGKILL");
}, 1000);
