import { installPack } from "../../execution/install-pack.ts";
import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { addRowMutation, idempotencyKeyField } from "../kit/mutation.ts";

const PackArchiveInput = builder.inputType("PackArchiveInput", {
  description: "An archive to download: .tar.gz, .tar or .zip.",
  fields: (t) => ({
    url: t.string({ required: true, description: "Its address." }),
    sha256: t.string({ description: "Its SHA-256, in hexadecimal digits: another one is refused." }),
  }),
});

const PackGitInput = builder.inputType("PackGitInput", {
  description: "A commit of a Git repository.",
  fields: (t) => ({
    url: t.string({ required: true, description: "The repository's address." }),
    ref: t.string({
      description:
        "A branch or a tag, or a commit that the server offers; by default the newest commit of the default branch.",
    }),
  }),
});

addRowMutation({
  table: "executions",
  ref: Execution,
  name: "installPack",
  may: "pack:install",
  description:
    "Installs a pack or updates it, from one of the sources: its files are checked, its environments built and its tests run before it becomes active at once. Whatever fails leaves the installed version as it is. What runs keeps the release that it began with. Returns the execution that does it: its log has the steps, its result the version.",
  input: builder.inputType("InstallPackInput", {
    description: "The pack to install.",
    fields: (t) => ({
      artifact: t.id({ description: "The id of an artifact whose newest version is an archive that was uploaded." }),
      archive: t.field({ type: PackArchiveInput, description: "An archive to download." }),
      git: t.field({ type: PackGitInput, description: "A commit of a repository." }),
      name: t.string({
        description:
          "A pack of an index that ATTUNE__PACKS__INDEXES names, such as `greetings`, or in a range of versions: `greetings@^1.2`.",
      }),
      skipTests: t.boolean({ description: "Whether its tests are not run." }),
      force: t.boolean({
        description:
          "Whether it is installed although its tests fail, or other packs need another version of it; the result says which.",
      }),
      withDependencies: t.boolean({
        description:
          "Whether the packs that it needs, and those that they need, are installed with it from the indexes, or updated, where they are missing or have another version: each is checked and tested like it, and all become active at once. The result lists them.",
      }),
      idempotencyKey: idempotencyKeyField(t),
    }),
  }),
  inputDescription: "The pack.",
  payload: ["execution", "The execution that installs it."],
  prepare: (_ctx, { artifact, archive, git, name, skipTests, force, withDependencies }) => ({
    name: name ?? null,
    artifact: artifact ? readId("Artifact", artifact, "artifact") : null,
    archive: archive ? { url: archive.url, sha256: archive.sha256 ?? null } : null,
    git: git ? { url: git.url, ref: git.ref ?? null } : null,
    skipTests: skipTests ?? false,
    force: force ?? false,
    withDependencies: withDependencies ?? false,
  }),
  run: installPack,
});
