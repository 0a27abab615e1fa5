let armed: string | null = null;

/** Arms one fault point of this process; null disarms. The configuration allows it in tests only. */
export function armFault(name: string | null): void {
  armed = name;
}

/** Kills the process like kill -9 if this fault point is armed, for this subject if it has one (`name:subject`). */
export function faultPoint(name: string, subject?: string): void {
  if (armed === null) return;
  if (armed === (subject === undefined ? name : `${name}:${subject}`)) process.kill(process.pid, "SIGKILL");
}
