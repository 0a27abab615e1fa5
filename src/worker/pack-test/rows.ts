import type { Services } from "../../db/services.ts";
import { write } from "../../db/tx.ts";
import type { Claim } from "../../execution/claim.ts";
import {
  findTestedRelease,
  noteTestProgress,
  type SuiteProgress,
  storeTestRun,
  type TestedRelease,
} from "../../execution/test-pack.ts";
import type { JsonObject } from "../../lib/json.ts";
import type { RunResult } from "../../pack-test/result.ts";
import type { Persist } from "../../process/persist.ts";

/** Reads and stores what belongs to the execution of a pack's tests; the database may be away meanwhile. */
export interface TestRows {
  /** Returns the release to test; null when it no longer exists. */
  find(): Promise<TestedRelease | null>;
  /** Sends how far a runner is to subscribers, in the order of the calls. */
  note(release: TestedRelease, progress: SuiteProgress): void;
  /** Stores the run after what was sent, and returns its id; null when the execution is no longer this attempt's. */
  store(release: TestedRelease, run: RunResult, result: JsonObject): Promise<string | null>;
}

/** Returns the rows of a claimed execution. */
export function createTestRows(services: Services, claim: Claim, persist: Persist): TestRows {
  let noted = Promise.resolve();
  return {
    find: () => persist(() => findTestedRelease(services.db, claim)),
    note: (release, progress) => {
      noted = noted
        .then(() => persist(() => write(services, (tx) => noteTestProgress(tx, claim.id, { release, progress }))))
        .catch((error: unknown) => services.log.error({ err: error, execution: claim.id }, "progress of tests"));
    },
    store: async (release, run, result) => {
      await noted;
      return await persist(() => write(services, (tx) => storeTestRun(tx, claim, { release, run, result })));
    },
  };
}
