import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";

/** A command of a build; its working directory is `cwd`. */
export interface Step {
  command: string;
  args: string[];
  cwd: string;
}

/** The places that a build works with. */
export interface Site {
  /** The interpreter's command. */
  interpreter: string;
  /** The directory of the release. */
  release: string;
  /** The new directory of the environment. */
  path: string;
}

/** How an action's process is started in an environment. */
export interface Setting {
  command: string;
  /** The directory of the release's files. */
  directory: string;
  variables: Readonly<Record<string, string>>;
  /** The directory of its programs, which is searched before those of the host; null: there is none. */
  programs: string | null;
  /** What a copy of the release in another directory needs links to, by name. */
  links: Readonly<Record<string, string>>;
}

/** How environments for a runtime are built, and how actions run in them. */
export interface Recipe {
  /** Prepares the directory. `run` resolves with whether a command succeeded, without an entry in the log. */
  prepare(site: Site, run: (step: Step) => Promise<boolean>): Promise<Step[]>;
  enter(site: Site, digest: string): Promise<Setting>;
}

/** Returns the variables of a process in these settings; `base` are those of the host. */
export function variablesIn(
  settings: readonly Pick<Setting, "variables" | "programs">[],
  base: Readonly<Record<string, string>>,
): Record<string, string> {
  const programs = settings.flatMap((each) => each.programs ?? []);
  const searchPath = [...programs, base["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"].join(":");
  return Object.assign(
    {},
    ...settings.map(({ variables }) => variables),
    programs.length > 0 ? { PATH: searchPath } : {},
  );
}

/** pip installs into another interpreter's environment since version 22.3. */
const findsPip = `import pip
major, minor = pip.__version__.split(".")[:2]
raise SystemExit((int(major), int(minor)) < (22, 3))`;

/**
 * Python: a virtual environment with what `requirements.txt` names. It is made without pip, in 2 s instead of 12, where the interpreter has
 * a pip that can install into it. `-I` keeps the pack's own modules from being taken for those of the standard library.
 */
const python: Recipe = {
  prepare: async ({ interpreter, release, path }, run) => {
    const hasPip = await run({ command: interpreter, args: ["-I", "-c", findsPip], cwd: release });
    const install = ["install", "--no-input", "--disable-pip-version-check", "-r", "requirements.txt"];
    return hasPip
      ? [
          { command: interpreter, args: ["-I", "-m", "venv", "--without-pip", path], cwd: release },
          {
            command: interpreter,
            args: ["-I", "-m", "pip", "--python", join(path, "bin", "python"), ...install],
            cwd: release,
          },
        ]
      : [
          { command: interpreter, args: ["-I", "-m", "venv", path], cwd: release },
          { command: join(path, "bin", "python"), args: ["-I", "-m", "pip", ...install], cwd: release },
        ];
  },
  enter: async ({ path, release }) => ({
    command: join(path, "bin", "python"),
    directory: release,
    variables: { VIRTUAL_ENV: path },
    programs: join(path, "bin"),
    links: {},
  }),
};

const ignored = new Set([".git", "node_modules", "__pycache__"]);

/**
 * Node.js: `node_modules` with what `package.json` names, exactly as `package-lock.json` has it if there is one. Modules are looked for above
 * the file that imports them only, so that actions run from a copy of their release inside of the environment.
 */
const node: Recipe = {
  prepare: async ({ release, path }) => {
    await copyRelease(release, path);
    const install = existsSync(join(path, "package-lock.json")) ? ["ci"] : ["install", "--no-package-lock"];
    return [
      {
        command: "npm",
        args: [...install, "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier", "--no-progress"],
        cwd: path,
      },
    ];
  },
  enter: async ({ interpreter, path, release }, digest) => {
    const releases = join(path, ".releases");
    const directory = join(releases, digest);
    if (!existsSync(directory)) {
      const unfinished = join(releases, `.${randomUUID()}`);
      await mkdir(releases, { recursive: true });
      await copyRelease(release, unfinished);
      await rename(unfinished, directory).catch(async (error: unknown) => {
        await rm(unfinished, { recursive: true, force: true });
        if (!existsSync(directory)) throw error; // else another execution was faster
      });
    }
    return {
      command: interpreter,
      directory,
      variables: {},
      programs: join(path, "node_modules", ".bin"),
      links: { node_modules: join(path, "node_modules") },
    };
  },
};

/** Copies the files of a release, without what tools leave in a working copy. */
export async function copyRelease(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, filter: (source) => source === from || !ignored.has(basename(source)) });
}

/** The recipes by the ref of the runtime; actions in other runtimes need no environment. */
export const recipes: ReadonlyMap<string, Recipe> = new Map([
  ["core.action.python", python],
  ["core.action.nodejs", node],
]);
