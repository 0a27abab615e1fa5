import { Failure } from "../cli/failure.ts";
import type { Author } from "../cli/terminal.ts";
import { InvalidInputError } from "../errors.ts";

/** Returns the work on the files of packs for the command line. It loads the server's code when it is used, and not before. */
export function createAuthor(env: NodeJS.ProcessEnv): Author {
  return {
    check: (...of) => reported(async () => (await import("./check.ts")).checkPacks(...of)),
    schema: async (kind) => (await import("./schema.ts")).schemaOf(kind),
    kinds: async () => (await import("./schema.ts")).schemaKinds,
    create: (...of) => reported(async () => (await import("./create.ts")).createPackFiles(...of)),
    importSt2: (...of) => reported(async () => (await import("./st2/import.ts")).importPack(...of)),
    index: (...of) => reported(async () => (await import("./pack-index.ts")).indexOf(...of)),
    pack: (directory) => reported(async () => (await import("./archive.ts")).archiveOf(directory)),
    changes: async function* (...of) {
      try {
        yield* (await import("./changes.ts")).changesIn(...of);
      } catch (error) {
        throw asFailure(error);
      }
    },
    test: (directory, options) =>
      reported(async () => (await import("./test.ts")).testDirectory(directory, { ...options, env })),
  };
}

/** A refusal is a failure of the command, which names every fault. */
async function reported<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asFailure(error);
  }
}

function asFailure(error: unknown): unknown {
  if (!(error instanceof InvalidInputError)) return error;
  return new Failure(error.issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join("\n"));
}
