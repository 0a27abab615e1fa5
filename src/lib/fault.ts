let armed: string | null = null;

/** Arms one fault point of this process; null disarms. The configuration allows it in tests only. */
export function armFault(name: string | null): void {
  armed = name;
}

/** Kills the process like kill -9 if this fault point is armed. */
export function faultPoint(name: string): void {
  if (armed === name) process.kill(process.pid, "SIGKILL");
}
