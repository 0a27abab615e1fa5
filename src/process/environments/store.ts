import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Returns the id of the directory: a path means the same on those hosts only that share the directory. Null: there is none. */
export function openStore(directory: string, { create }: { create: boolean }): string | null {
  const file = join(directory, "store-id");
  if (!existsSync(file)) {
    if (!create) return null;
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    try {
      writeFileSync(file, randomUUID(), { flag: "wx" });
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
  }
  return readFileSync(file, "utf8");
}
