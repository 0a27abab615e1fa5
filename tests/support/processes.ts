import { readdirSync, readFileSync } from "node:fs";

/** The ids of living processes whose command line holds the text; a zombie that nobody has reaped yet is not alive. */
export function processesWith(text: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(text);
    } catch {
      return false; // it ended while we looked
    }
  });
}
