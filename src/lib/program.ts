import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

// The sources and the built program both have their modules two directories below the root.
const root = new URL("../../", import.meta.url);

/** Returns the path of a file or directory that comes with the program, such as `packs/core`. */
export const ownPath = (name: string): string => fileURLToPath(new URL(name, root));

/** Returns the version of the program. */
export const readOwnVersion = (): string => JSON.parse(readFileSync(ownPath("package.json"), "utf8")).version;

/** The ending of the program's modules: `.ts` in a checkout, `.js` once it is built. */
export const moduleEnding: string = /\.\w+$/.exec(import.meta.url)?.[0] ?? "";

/** The command that prints a sign-in link. In a checkout it reads `.env` as `npm start` does. */
export const linkCommand: string = moduleEnding === ".ts" ? "npm run link" : "attune link";

/** What helps when a package of the program is not as it must be. */
export const repair: string =
  moduleEnding === ".ts" ? "run `npm ci` without --ignore-scripts" : "install another build of the program";
