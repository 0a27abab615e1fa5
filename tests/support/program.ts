import { createHash, type Hash } from "node:crypto";
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { build } from "rolldown";
import config from "../../rolldown.config.ts";

const cache = resolve("node_modules/.cache/attune-program");
const keptMs = 24 * 3600 * 1000;
/** What the program reads from the directory above its own. */
const beside = ["package.json", "drizzle", "packs", "schema.graphql", "node_modules"];

/**
 * Builds the program as `npm run build` does, unless it is there already, and returns the path of its `attune.js`. The processes that
 * tests start run it: they start in two thirds of the time that the sources take. It is kept by the content of what it was built from, so
 * it is always that of the sources.
 */
export async function buildProgram(): Promise<string> {
  const directory = join(cache, digest());
  const program = join(directory, "dist/attune.js");
  if (existsSync(program)) {
    utimesSync(directory, new Date(), new Date());
    return program;
  }
  mkdirSync(cache, { recursive: true });
  for (const name of readdirSync(cache)) {
    const age = Date.now() - statSync(join(cache, name)).mtimeMs;
    if (age > keptMs) rmSync(join(cache, name), { recursive: true, force: true });
  }
  const building = mkdtempSync(join(cache, "building-"));
  for (const name of beside) symlinkSync(resolve(name), join(building, name));
  const { output, ...input } = config;
  await build({ ...input, logLevel: "warn", output: { ...output, dir: join(building, "dist"), sourcemap: false } });
  try {
    renameSync(building, directory);
  } catch (error) {
    if (!existsSync(program)) throw error;
    rmSync(building, { recursive: true }); // another run has built the same meanwhile
  }
  return program;
}

/** Returns the digest of everything that goes into the program. */
function digest(): string {
  const hash = createHash("sha256");
  for (const file of globSync("src/**/*.*").sort()) add(hash, file);
  for (const file of ["package.json", "package-lock.json", "rolldown.config.ts", ...globSync("patches/*").sort()]) {
    add(hash, file);
  }
  return hash.digest("hex").slice(0, 16);
}

function add(hash: Hash, file: string): void {
  if (!statSync(file).isFile()) return;
  hash.update(file).update("\0").update(readFileSync(file)).update("\0");
}
