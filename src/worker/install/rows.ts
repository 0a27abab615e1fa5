import { existsSync } from "node:fs";
import { sql } from "drizzle-orm";
import { loadPack, type PackOrigin } from "../../catalog/load.ts";
import { findNeedFaults, type NeedFaults } from "../../catalog/needs.ts";
import { preparePack } from "../../catalog/queues.ts";
import type { CheckedPack } from "../../catalog/read.ts";
import { rows } from "../../db/client.ts";
import type { Services } from "../../db/services.ts";
import { type Tx, write } from "../../db/tx.ts";
import { ConflictError, type Issue } from "../../errors.ts";
import type { Claim } from "../../execution/claim.ts";
import { inProgress, statusIn } from "../../execution/states.ts";
import { faultPoint } from "../../lib/fault.ts";
import type { JsonObject } from "../../lib/json.ts";
import type { Log } from "../../log.ts";
import type { RunResult } from "../../pack-test/result.ts";
import type { Persist } from "../../process/persist.ts";
import { packRules } from "../../rule/check.ts";
import { lockReleases } from "./care.ts";
import { type Checksum, saveArtifact } from "./fetch.ts";

/** The pack as it is installed before. */
export interface Installed {
  version: string;
  digest: string | null;
}

/** Reads and stores what belongs to an installation; the database may be away meanwhile. */
export interface InstallRows {
  /** The server's log. */
  log: Log;
  /** Returns the pack with that ref as it is now; null: there is none. Throws ConflictError for one that a setting loads. */
  find(ref: string): Promise<Installed | null>;
  /** Writes an uploaded archive into a file. */
  save(artifact: string, file: string): Promise<Checksum>;
  /** Returns what keeps the pack from being activated beside the packs that are there now, and those that are activated together with it. */
  needs(source: CheckedPack, together: readonly CheckedPack[]): Promise<NeedFaults>;
  /**
   * Makes the packs' files their active releases, together with the runs of their tests, unless the execution is no longer this attempt's. The last pack is
   * that of the installation, and needs the others. Returns the faults that were passed over because they are forced. Throws InvalidInputError and
   * ConflictError, and then nothing has changed.
   */
  activate(packs: readonly Activation[], isForced: boolean): Promise<Issue[]>;
}

/** A pack to activate. */
export interface Activation {
  source: CheckedPack;
  origin: PackOrigin;
  /** The run of its tests; null: they were not run. */
  tests: { run: RunResult; result: JsonObject } | null;
}

/** Returns the rows of a claimed execution. */
export function createInstallRows(services: Services, claim: Claim, persist: Persist): InstallRows {
  const find: InstallRows["find"] = async (ref) => {
    const [found] = await persist(() =>
      rows<Installed & { type: string | null; path: string | null }>(
        services.db,
        sql`select p.version, r.digest, p.source_type as type, p.storage_path as path from attune.pack p
          left join attune.pack_release r on r.id = p.active_release where p.ref = ${ref}`,
      ),
    );
    if (!found) return null;
    const { type, path, ...installed } = found;
    if (type === "directory") {
      throw new ConflictError(
        `The pack "${ref}" is loaded from ${path} at each start: take it out of ATTUNE__PACKS__DIRS to install another one.`,
      );
    }
    if (type === null) {
      throw new ConflictError(`The pack "${ref}" was created by hand: delete it, or install a pack with another ref.`);
    }
    return installed;
  };
  return {
    log: services.log,
    find,
    save: (artifact, file) => persist(() => saveArtifact(services, artifact, file)),
    needs: (source, together) => persist(() => findNeedFaults(services.db, source, together)),
    activate: async (packs, isForced) => {
      for (const { source } of packs) await find(source.pack.ref);
      for (const { source } of packs) await persist(() => preparePack(services, source));
      return await persist(() =>
        write(services, async (tx) => {
          await requireAttempt(tx, claim);
          await lockReleases(tx);
          const forced: Issue[] = [];
          for (const each of packs) {
            const isMain = each === packs.at(-1);
            const together = packs.map(({ source }) => source);
            forced.push(...(await activateOne(tx, each, { together, isForced, execution: isMain ? claim.id : null })));
          }
          faultPoint("install.before_commit");
          return forced;
        }),
      );
    },
  };
}

async function requireAttempt(tx: Tx, { id, attempt }: Claim): Promise<void> {
  const [held] = await rows<{ id: string }>(
    tx.db,
    sql`select e.id::text from attune.execution e where e.id = ${id}::bigint and e.attempt = ${attempt}::int
      and ${statusIn(inProgress, "e.status")} for no key update of e`,
  );
  if (!held) throw new ConflictError("The installation was given to another worker, or cancelled.");
}

/** An execution has one run of tests: that of the pack that it installs. */
async function activateOne(
  tx: Tx,
  { source, origin, tests }: Activation,
  { together, isForced, execution }: { together: readonly CheckedPack[]; isForced: boolean; execution: string | null },
): Promise<Issue[]> {
  if (!existsSync(source.path)) throw new ConflictError("The files were removed meanwhile: install the pack again.");
  const { forced } = await loadPack(tx, source, packRules, { origin, together, isForced });
  if (tests === null) return forced;
  const { run, result } = tests;
  await tx.db.execute(
    sql`insert into attune.pack_test_execution (pack_id, pack_version, trigger_reason, total_tests, passed, failed, skipped,
        pass_rate, duration_ms, result, execution, release)
      select p.id, p.version, case when exists (select from attune.pack_release o where o.pack = p.id and o.id <> p.active_release)
          then 'update' else 'install' end, ${run.totalTests}, ${run.passed}, ${run.failed}, ${run.skipped}, ${run.passRate}::float8,
        ${run.durationMs}::bigint, ${JSON.stringify(result)}::text::jsonb, ${execution}::bigint, p.active_release
        from attune.pack p where p.ref = ${source.pack.ref}
      on conflict (execution) where execution is not null do nothing`,
  );
  return forced;
}
