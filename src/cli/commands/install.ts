import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { mutate, send } from "../client.ts";
import { confirm, requireTerminal } from "../confirm.ts";
import type { Context } from "../context.ts";
import { addGroup, define, type Group, groupOf, option } from "../define.ts";
import { readEnd } from "../ended.ts";
import { Failure, UsageFailure } from "../failure.ts";
import { followSteps } from "../steps.ts";
import { followTests } from "../tests.ts";
import { noteDirectory } from "./pack.ts";

interface InstallOptions {
  ref?: string;
  sha256?: string;
  skipTests?: boolean;
  force?: boolean;
  withDependencies?: boolean;
  follow?: boolean;
}

/** Adds `pack install` and `pack uninstall`. */
export function addInstall(above: Group): void {
  const commands = groupOf(above, "pack");
  define<InstallOptions>(commands, {
    name: "install <source>",
    description:
      "install or update a pack: a directory or an archive of this machine, the https address of an archive, that of a Git repository (ends in .git), or a name of an index such as greetings@^1.2",
    options: [
      option("--ref <ref>", "a branch or a tag of the repository, instead of its default branch"),
      option("--sha256 <digest>", "the archive's SHA-256: another one is refused"),
      option("--skip-tests", "without running its tests"),
      option("--force", "although its tests fail, or other packs need another version of it"),
      option("--with-dependencies", "also packs that it needs and that are missing or too old, from the indexes"),
      option("--follow", "print what its tests and builds write"),
    ],
    examples: ["install ./packs/greetings", "install ./packs/greetings --skip-tests --output json"],
    run: install,
  });
  define<{ yes?: boolean }>(commands, {
    name: "uninstall <ref>",
    description: "delete a pack with everything in it, after saying what that is; executions keep its refs",
    options: [option("--yes", "without asking")],
    examples: ["uninstall unneeded --yes"],
    names: "pack",
    run: uninstall,
  });
}

async function install(context: Context, [source = ""]: string[], options: InstallOptions): Promise<number> {
  const { skipTests = false, force = false, withDependencies = false, ref = null, sha256 = null } = options;
  const input = { ...(await sourceOf(context, source, { ref, sha256 })), skipTests, force, withDependencies };
  const { execution } = await mutate<{ execution: { id: string } | null }>(
    context.ask,
    "installPack",
    input,
    "execution { id }",
  );
  if (!execution) throw new Failure("You may not read the execution that installs the pack.");
  await followToEnd(context, execution.id, options.follow === true);
  const ended = await readEnd(context, execution.id);
  const { data = null } = (ended["result"] ?? {}) as { data?: Record<string, unknown> | null };
  const { message = ended.reason } = (ended["error"] ?? {}) as { message?: string | null };
  if (data === null) throw new Failure(message ?? `The installation has ended: ${ended.status}.`);
  const { pack, version, previous_version, changed, tests, dependencies, ...others } = data;
  const brought = context.options.output === "table" ? namesOf(dependencies) : dependencies;
  await context.printObject({ pack, version, previous_version, changed, tests, dependencies: brought, ...others });
  return 0;
}

/** Returns the packs that were installed with another one, for people. */
const namesOf = (dependencies: unknown): unknown =>
  Array.isArray(dependencies)
    ? dependencies.map(({ pack, version, previous_version: before }) =>
        before === null ? `${pack} ${version}` : `${pack} ${version}, before ${before}`,
      )
    : dependencies;

/** Shows the steps of an installation until it ends, or prints all that it writes. What it does goes on when the command is interrupted. */
async function followToEnd(context: Context, id: string, all: boolean): Promise<void> {
  try {
    await (all ? followTests(context, id, true) : followSteps(context, id));
  } catch (error) {
    if (context.terminal.signal.aborted) {
      context.note(
        `The installation goes on: "attune execution logs ${id} --follow" shows it, "attune execution cancel ${id}" ends it.`,
      );
    }
    throw error;
  }
}

/** Returns the source as the API takes it. What is on this machine is uploaded first. */
async function sourceOf(
  context: Context,
  source: string,
  { ref, sha256 }: { ref: string | null; sha256: string | null },
): Promise<object> {
  if (/^(ssh|git):\/\/|^[\w.-]+@[\w.-]+:/.test(source)) {
    throw new UsageFailure("Repositories come by https, not by ssh: write https://… in a form that ends in .git.");
  }
  if (/^(https?|file):\/\//.test(source)) {
    const isGit = source.endsWith(".git") || ref !== null || source.startsWith("file:");
    if (isGit && sha256 !== null) throw new UsageFailure("--sha256 is for archives: name a commit by --ref.");
    return isGit ? { git: { url: source, ref } } : { archive: { url: source, sha256 } };
  }
  if (ref !== null) throw new UsageFailure("--ref is for Git repositories.");
  if (!source.includes("/") && !/\.(tar\.gz|tgz|tar|zip)$/.test(source) && source !== ".") {
    noteDirectory(context, source, "a pack of an index");
    if (sha256 === null) return { name: source };
    throw new UsageFailure("--sha256 is for archives: an index has the digests of its packs.");
  }
  const isDirectory = await stat(source).then(
    (found) => found.isDirectory(),
    () => {
      throw new UsageFailure(`There is no file or directory "${source}". A repository's address ends in .git.`);
    },
  );
  const content = isDirectory ? await context.terminal.author.pack(source) : await readFile(source);
  const digest = createHash("sha256").update(content).digest("hex");
  if (sha256 !== null && sha256 !== digest) throw new Failure(`The archive's SHA-256 is ${digest}, not ${sha256}.`);
  return { artifact: await upload(context, content, digest) };
}

/** Uploads an archive as a new version of the artifact for archives of packs, and returns the artifact's id. */
async function upload(context: Context, content: Buffer, sha256: string): Promise<string> {
  const type = "application/gzip";
  const input = {
    ...{ ref: `packs/${sha256.slice(0, 16)}.tar.gz`, type: "FILE_BINARY", contentType: type },
    ...{ size: String(content.length), sha256 },
  };
  const { upload: to } = await mutate<{ upload: { url: string; artifact: { id: string } } }>(
    context.ask,
    "createArtifactUpload",
    input,
    "upload { url artifact { id } }",
  );
  const { signal } = context.terminal;
  const response = await send(context.connection, to.url, {
    method: "PUT",
    headers: { "content-type": type },
    body: new Uint8Array(content),
    signal,
  });
  if (response.ok) return to.artifact.id;
  throw new Failure(`The upload failed with status ${response.status}: ${(await response.text()).slice(0, 500)}`);
}

interface Contents {
  version: string;
  sourceType: string | null;
  [kind: string]: string | null | { totalCount: { count: number } };
}

async function uninstall(context: Context, [ref = ""]: string[], { yes }: { yes?: boolean }): Promise<void> {
  const kinds = ["actions", "triggers", "sensors", "rules"];
  const counts = kinds.map((kind) => `${kind}(first: 1) { totalCount { count } }`).join(" ");
  const { packByRef: pack } = await context.ask<{ packByRef: Contents | null }>(
    `query($ref: String!) { packByRef(ref: $ref) { version sourceType ${counts} } }`,
    { ref },
  );
  if (!pack) throw new Failure(`There is no pack "${ref}", or you may not read it.`);
  const what = kinds.flatMap((kind) => {
    const found = pack[kind];
    const count = typeof found === "object" && found !== null ? found.totalCount.count : 0;
    return count === 0 ? [] : [`${count} ${count === 1 ? kind.slice(0, -1) : kind}`];
  });
  context.note(`${ref} ${pack.version} goes${what.length > 0 ? `, with ${what.join(", ")}` : ""}.`);
  if (pack.sourceType === "directory") {
    context.note("The next start of the server loads it again, unless it is taken out of ATTUNE__PACKS__DIRS.");
  }
  const needing = await dependentsOf(context, ref);
  if (needing.length > 0) {
    throw new Failure(
      needing.length === 1
        ? `${needing[0]} needs ${ref}: uninstall it first, or update it to a version that does without.`
        : `${needing.join(", ")} need ${ref}: uninstall them first, or update them to versions that do without.`,
    );
  }
  requireTerminal(context.terminal, yes, `attune pack uninstall ${ref}`);
  if (!yes) await confirm(context.terminal, `Delete ${ref}.`);
  await mutate(context.ask, "deletePack", { ref }, "__typename");
  if (context.options.output !== "table") await context.printValue({ ref, deleted: true });
  else await context.write(`${ref} is deleted.\n`);
}

/** Returns the packs that need the pack, such as `app 1.0.0 (lib@^1)`. */
async function dependentsOf(context: Context, ref: string): Promise<string[]> {
  const needing: string[] = [];
  for (let after: string | null = null; ; ) {
    const { packs }: { packs: Packs } = await context.ask<{ packs: Packs }>(
      `query($after: String) { packs(first: 100, after: $after) {
        nodes { ref version dependencies } pageInfo { hasNextPage endCursor } } }`,
      { after },
    );
    for (const { ref: other, version, dependencies } of packs.nodes) {
      const needs = dependencies.find((text) => text === ref || text.startsWith(`${ref}@`));
      if (needs !== undefined && other !== ref) needing.push(`${other} ${version} (${needs})`);
    }
    if (!packs.pageInfo.hasNextPage) return needing;
    after = packs.pageInfo.endCursor;
  }
}

interface Packs {
  nodes: { ref: string; version: string; dependencies: string[] }[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

/** Adds `pack index build`. */
export function addIndex(above: Group): void {
  const commands = addGroup(
    groupOf(above, "pack"),
    "index",
    "work on indexes of packs",
    "build ./archives --at https://example.org/packs/",
  );
  define<{ at: string }>(commands, {
    name: "build <directory>",
    description: "print an index of the archives in a directory, after checking them, for `pack install` by name",
    options: [option("--at <address>", "the address of the directory on the web").makeOptionMandatory()],
    examples: ["build ./archives --at https://example.org/packs/"],
    run: async (context, [directory = ""], { at }) => {
      const { author, signal } = context.terminal;
      await context.write(`${JSON.stringify(await author.index(directory, at, signal), null, 2)}\n`);
    },
  });
}
