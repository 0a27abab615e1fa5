// Builds the program that `npm pack` packs and the image runs: node_modules/.bin/rolldown -c
import { globSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { defineConfig, type Plugin } from "rolldown";

const { dependencies } = JSON.parse(readFileSync("package.json", "utf8")) as { dependencies: Record<string, string> };
const external = Object.keys(dependencies);

/** Returns the path of a file of the sources from the nearest directory above it that has modules: those read it from there. */
function pathFromModules(path: string): string {
  let directory = dirname(path);
  while (globSync(`${directory}/*.ts`).length === 0) directory = dirname(directory);
  return relative(directory, path);
}

/** Emits what the modules read from their own directory: every file of the sources that is no module. */
const files: Plugin = {
  name: "files",
  generateBundle() {
    const paths = globSync("src/**/*.*").filter((path) => !/\.(ts|js|pyc)$/.test(path));
    const targets = new Set(paths.map(pathFromModules));
    if (targets.size !== paths.length) this.error("Two files that modules read have the same path.");
    for (const path of paths) {
      this.emitFile({ type: "asset", fileName: `module/${pathFromModules(path)}`, source: readFileSync(path) });
    }
  },
};

/** Returns the directory of the package that a module belongs to, or null for one of our own. */
const packageOf = (module: string) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(module)?.[0] ?? null;

/** Emits the licences of the packages whose modules are in the bundle. */
const licenses: Plugin = {
  name: "licenses",
  generateBundle(_, bundle) {
    const modules = Object.values(bundle).flatMap((each) => (each.type === "chunk" ? each.moduleIds : []));
    const packages = new Set(modules.map(packageOf).filter((each) => each !== null));
    const texts = [...packages].sort().map((directory) => {
      const { name, version, license } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
      const file = readdirSync(directory).find((each) => /^licen[cs]e/i.test(each));
      const text = file === undefined ? "" : readFileSync(join(directory, file), "utf8").trim();
      return `${name} ${version} (${license})\n\n${text}\n`;
    });
    this.emitFile({ type: "asset", fileName: "licenses.txt", source: texts.join(`\n${"-".repeat(80)}\n\n`) });
  },
};

/** Leaves out the source map of GraphiQL, whose module holds it as a text: the map is as large, and says nothing. */
const maps: Plugin = {
  name: "maps",
  generateBundle(_, bundle) {
    for (const [name, each] of Object.entries(bundle)) {
      if (
        each.type === "chunk" &&
        each.moduleIds.some((module) => module.includes("/@graphql-yoga/render-graphiql/"))
      ) {
        if (each.moduleIds.some((module) => packageOf(module) === null))
          this.error(`${name} has modules besides GraphiQL.`);
        delete bundle[`${name}.map`];
      }
    }
  },
};

export default defineConfig({
  input: { attune: "src/attune.js", "watchdog-thread": "src/lib/watchdog-thread.ts" },
  platform: "node",
  external: (id) => id.startsWith("node:") || external.some((name) => id === name || id.startsWith(`${name}/`)),
  plugins: [files, licenses, maps],
  output: {
    dir: "dist",
    cleanDir: true,
    format: "esm",
    // The modules find what comes with the program two directories below the root, as in `src` (src/lib/program.ts).
    entryFileNames: ({ name }) => (name === "attune" ? "attune.js" : `module/${name}.js`),
    chunkFileNames: "module/[name]-[hash].js",
    sourcemap: true,
    minify: false,
  },
});
