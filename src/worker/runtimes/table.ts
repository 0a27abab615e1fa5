import { builtinRuntime } from "./builtin.ts";
import { containerRuntime } from "./container.ts";
import { packRuntime } from "./pack.ts";
import { processRuntime } from "./process.ts";
import type { Runtime } from "./runtime.ts";

/** The runtimes that this version runs, by ref; an execution in another one waits, and then fails with a reason that names it. */
export const runtimes: ReadonlyMap<string, Runtime> = new Map([
  ["core.action.builtin", builtinRuntime],
  ["core.action.shell", processRuntime({})],
  ["core.action.bash", processRuntime({})],
  // Python keeps back what it writes to a pipe: unbuffered, output is seen while the action runs, and is kept when it is stopped.
  ["core.action.python", processRuntime({ PYTHONUNBUFFERED: "1" })],
  ["core.action.nodejs", processRuntime({})],
  ["core.action.container", containerRuntime],
  ["core.action.pack", packRuntime],
]);
