import { atEachChange } from "../changes.ts";
import { mutate } from "../client.ts";
import type { Context } from "../context.ts";
import { define, type Group, groupOf, option } from "../define.ts";
import { Failure, UsageFailure } from "../failure.ts";
import { isPath, printResult, testOnServer } from "./pack.ts";

interface ReloadOptions {
  watch?: boolean;
  test?: boolean;
  follow?: boolean;
}

interface Reloaded {
  changed: boolean;
  directory: string;
  pack: { version: string } | null;
}

/** Adds `pack reload`. */
export function addReload(above: Group): void {
  define<ReloadOptions>(groupOf(above, "pack"), {
    name: "reload <pack>",
    description:
      "load the changed files of a pack that the server loads from ATTUNE__PACKS__DIRS: by its ref, or by a path with a slash to its directory on this machine; faults change nothing",
    options: [
      option("--test", "then run its tests on the server"),
      option("--follow", "print what the tests write"),
      option("--watch", "again after each change in the directory, until Ctrl-C"),
    ],
    examples: ["reload visits", "reload ./packs/visits --test"],
    names: "pack",
    run: async (context, [pack = ""], options) => {
      if (!options.watch) return await reload(context, pack, options, (value) => context.printValue(value));
      if (!isPath(pack)) {
        throw new UsageFailure("--watch needs the directory: name the pack by a path with a slash.");
      }
      return await atEachChange(context, pack, () =>
        reload(context, pack, options, (value) => context.printNext(value, [])),
      );
    },
  });
}

async function reload(
  context: Context,
  pack: string,
  options: ReloadOptions,
  print: (value: unknown) => Promise<void>,
): Promise<number> {
  const ref = isPath(pack) ? await refIn(context, pack) : pack;
  const selection = "changed directory pack { version }";
  const { changed, directory, pack: loaded } = await mutate<Reloaded>(context.ask, "reloadPack", { ref }, selection);
  const reloaded = { ref, version: loaded?.version ?? null, changed, directory };
  const isForPeople = context.options.output === "table";
  if (isForPeople) await context.write(sentenceOf(reloaded));
  else if (!options.test) await print(reloaded);
  if (!options.test) return 0;
  const tests = await testOnServer(context, ref, { ...options, cache: true });
  return await printResult(context, tests, (value) => print({ ...reloaded, tests: value }));
}

function sentenceOf({
  ref,
  version,
  changed,
  directory,
}: { ref: string; version: string | null } & Omit<Reloaded, "pack">) {
  const what = version === null ? ref : `${ref} ${version}`;
  return changed ? `${what} is loaded from ${directory}.\n` : `${what} in ${directory} has not changed.\n`;
}

/** Returns the ref of the pack in a directory. The server checks the rest of it, with the packs that it needs. */
async function refIn(context: Context, directory: string): Promise<string> {
  const [{ ref, issues } = { ref: null, issues: [] }] = await context.terminal.author.check([directory], []);
  if (ref !== null) return ref;
  throw new Failure(issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("\n"));
}
