let armed: string | null = null;

/** Arms one fault point of this process (tests only: the configuration refuses it elsewhere); null disarms. */
export function armFault(name: string | null): void {
  armed = name;
}

/** A place where a test may kill the process as kill -9 would: between two arrows of the flow. Does nothing otherwise. */
export function faultPoint(name: string): void {
  if (armed === name) process.kill(process.pid, "SIGKILL");
}
