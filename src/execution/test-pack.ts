import { sql } from "drizzle-orm";
import { lockRow } from "../access/rows.ts";
import { identityOf, type Session } from "../access/session.ts";
import { LONGEST_TIMEOUT } from "../catalog/retry.ts";
import type { Testing } from "../catalog/testing.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import type { RunResult } from "../pack-test/result.ts";
import { findAction } from "./action.ts";
import type { Claim } from "./claim.ts";
import { parentOf, requestExecutions } from "./execute.ts";
import { inProgress, statusIn } from "./states.ts";

/** The tests to run. */
export interface TestPackInput {
  pack: string;
  /** The names of the runners; null: all of them. */
  runners: readonly string[] | null;
  /** Whether they run although the release has passed them before. */
  noCache: boolean;
}

/** The execution that runs the tests; null, with the run, where the release has passed them before. */
export interface PackTest {
  id: bigint;
  execution: bigint | null;
  run: bigint | null;
}

/**
 * Requests an execution that runs the tests of a pack's active release, in the caller's transaction; none if all of them have passed before.
 * Throws NotFoundError, ForbiddenError (the session may not change the pack), ConflictError (the pack has no tests; an execution of
 * which this would be a child has ended), InvalidInputError (no such runner).
 */
export async function testPack(tx: Tx, session: Session, input: TestPackInput): Promise<PackTest> {
  const { id } = await lockRow(tx, session, { of: "pack", doing: "update", which: { ref: input.pack } });
  const release = await activeRelease(tx.db, id);
  if (!release)
    throw new ConflictError(`The pack "${input.pack}" was created by hand: only packs of files have tests.`);
  const testing = requireTesting(input.pack, release.testing);
  const runners = chooseRunners(testing, input.runners);
  if (runners === null && !input.noCache) {
    const run = await findPassed(tx.db, release.id);
    if (run !== null) return { id, execution: null, run };
  }
  const action = await findAction(tx.db, "core.test_pack");
  if (!action)
    throw new ConflictError(`The pack "core" of this installation is older: it has no action core.test_pack.`);
  const seconds = Object.values(testing.runners).reduce((sum, { timeout }) => sum + timeout + 10, 120);
  const parent = await parentOf(tx, session);
  const config: JsonObject = { pack: input.pack, release: release.digest, reason: "manual", runners };
  const [execution] = await requestExecutions(tx, [
    {
      ...{
        action,
        config,
        secrets: [],
        enforcement: null,
        executor: identityOf(session),
        ruleRef: null,
        triggerRef: null,
      },
      ...{ traceTag: parent?.traceTag ?? null, generation: parent?.generation ?? 0, priority: 0, retry: null, parent },
      timeoutSeconds: Math.min(LONGEST_TIMEOUT, seconds),
    },
  ]);
  return { id, execution: BigInt(execution ?? 0), run: null };
}

async function activeRelease(db: Db, pack: bigint) {
  const [release] = await rows<{ id: string; digest: string; testing: Testing | null }>(
    db,
    sql`select r.id::text, r.digest, r.manifest #> '{pack,testing}' as testing
      from attune.pack p join attune.pack_release r on r.id = p.active_release where p.id = ${String(pack)}::bigint`,
  );
  return release ?? null;
}

function requireTesting(ref: string, testing: Testing | null): Testing {
  if (testing?.enabled) return testing;
  const reason = testing ? "its pack.yaml disables them" : 'its pack.yaml has no "testing"';
  throw new ConflictError(`The pack "${ref}" has no tests: ${reason}.`);
}

function chooseRunners(testing: Testing, names: readonly string[] | null): string[] | null {
  if (names === null) return null;
  const known = Object.keys(testing.runners);
  if (names.length === 0) throw invalid("runners", `expected at least one of ${known.join(", ")}`);
  for (const [index, name] of names.entries()) {
    if (known.includes(name)) continue;
    throw invalid(
      `runners.${index}`,
      `"${name}" is no runner of the pack, which has ${known.join(", ")}${didYouMean(name, known)}`,
    );
  }
  return [...new Set(names)];
}

/** Returns the newest run of the release that succeeded. */
async function findPassed(db: Db, release: string): Promise<bigint | null> {
  const [run] = await rows<{ id: string }>(
    db,
    sql`select id::text from attune.pack_test_execution where release = ${release}::bigint and result -> 'succeeded' = 'true'::jsonb
      order by id desc limit 1`,
  );
  return run ? BigInt(run.id) : null;
}

/** A run as it is stored. */
interface StoredRun {
  id: string;
  result: JsonObject;
}

/** The release whose tests an execution runs. */
export interface TestedRelease {
  id: string;
  packId: string;
  version: string;
  digest: string;
  path: string;
  testing: Testing;
  environments: Readonly<Record<string, string>>;
  /** The run that an earlier attempt stored. */
  run: StoredRun | null;
}

/** Returns the release whose tests the execution runs; null when it no longer exists. */
export async function findTestedRelease(
  db: Db,
  { id, config }: Pick<Claim, "id" | "config">,
): Promise<TestedRelease | null> {
  const [found] = await rows<TestedRelease>(
    db,
    sql`select r.id::text, p.id::text as "packId", r.version, r.digest, r.path, r.manifest #> '{pack,testing}' as testing, r.environments,
        (select jsonb_build_object('id', t.id::text, 'result', t.result) from attune.pack_test_execution t
          where t.execution = ${id}::bigint) as run
      from attune.pack p join attune.pack_release r on r.pack = p.id
      where p.ref = ${String(config["pack"])} and r.digest = ${String(config["release"])}`,
  );
  return found?.testing ? found : null;
}

type Attempt = Pick<Claim, "id" | "attempt" | "config">;

/**
 * Stores the run of an attempt once: what an earlier attempt stored stays. Returns its id; null when the execution is no longer running in this
 * attempt, or when the pack or its release was deleted meanwhile.
 */
export async function storeTestRun(
  tx: Tx,
  { id, attempt, config }: Attempt,
  { release, run, result }: { release: TestedRelease; run: RunResult; result: JsonObject },
): Promise<string | null> {
  const [held] = await rows<{ id: string }>(
    tx.db,
    sql`select e.id::text from attune.execution e where e.id = ${id}::bigint and e.attempt = ${attempt}::int
      and ${statusIn(inProgress, "e.status")} for no key update of e`,
  );
  if (!held) return null;
  const [stored] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.pack_test_execution (pack_id, pack_version, trigger_reason, total_tests, passed, failed, skipped, pass_rate,
        duration_ms, result, execution, release)
      select r.pack, r.version, ${String(config["reason"])}, ${run.totalTests}, ${run.passed}, ${run.failed}, ${run.skipped},
        ${run.passRate}::float8, ${run.durationMs}::bigint, ${JSON.stringify(result)}::text::jsonb, ${id}::bigint, r.id
        from attune.pack_release r where r.id = ${release.id}::bigint
      on conflict (execution) where execution is not null do nothing returning id::text`,
  );
  if (stored) return stored.id;
  const again = await findTestedRelease(tx.db, { id, config });
  return again?.run?.id ?? null;
}

/** How far a runner of a pack's tests is. */
export interface SuiteProgress {
  runner: string;
  status: "running" | "passed" | "failed";
  total: number;
  passed: number;
  failed: number;
  skipped: number;
  durationMs: number;
}

/** Lets subscribers know how far a runner is. */
export async function noteTestProgress(
  tx: Tx,
  execution: string,
  { release, progress }: { release: TestedRelease; progress: SuiteProgress },
): Promise<void> {
  const test = JSON.stringify({ execution, run: null, ...progress });
  await tx.db.execute(
    sql`insert into attune.notification (channel, entity_type, entity, activity, content, pack_ref)
      select 'pack', 'pack', p.id, 'status', jsonb_build_object('ref', p.ref, 'test', ${test}::text::jsonb), p.ref
        from attune.pack p where p.id = ${release.packId}::bigint`,
  );
}
