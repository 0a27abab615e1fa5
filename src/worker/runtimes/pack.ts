import { performInstall } from "../install/perform.ts";
import { performTests } from "../pack-test/perform.ts";
import type { Runtime } from "./runtime.ts";

/** Installs packs, and runs their tests. */
export const packRuntime: Runtime = {
  slots: "process",
  perform: (run, entrypoint, host) =>
    entrypoint === "core.install_pack" ? performInstall(run, host) : performTests(run, host),
};
