import { sql } from "drizzle-orm";
import { anyOf, rows } from "../../db/client.ts";
import type { testReasons } from "../../db/tables/pack-test.ts";
import { invalid } from "../../errors.ts";
import { globalId } from "../../lib/global-id.ts";
import { createBatchLoader } from "../kit/batch.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { PackTestReason } from "../kit/enums.ts";
import { Pack } from "./pack.ts";

const most = 100;

interface Release {
  version: string;
  digest: string;
  size: string;
  isActive: boolean;
  createdMs: number;
}

const PackRelease = builder.objectRef<Release>("PackRelease").implement({
  description:
    "The files of a pack as they were loaded or installed once. What runs keeps the release that it began with.",
  fields: (t) => ({
    version: t.exposeString("version", { description: "The version that its pack.yaml names." }),
    digest: t.exposeString("digest", { description: "The SHA-256 of its files." }),
    size: t.field({
      type: "BigInt",
      description: "How many bytes its files have.",
      resolve: ({ size }) => BigInt(size),
    }),
    isActive: t.exposeBoolean("isActive", { description: "Whether it is the release that new executions run." }),
    created: t.field({
      type: "DateTime",
      description: "When it was first loaded or installed.",
      resolve: ({ createdMs }) => new Date(createdMs),
    }),
  }),
});

/** A run of a pack's tests as the views `pack_test_summary` and `pack_latest_test` have it. */
interface Summary {
  packId: string;
  packRef: string;
  packLabel: string;
  run: string;
  packVersion: string;
  executionMs: number;
  triggerReason: (typeof testReasons)[number];
  totalTests: number;
  passed: number;
  failed: number;
  skipped: number;
  passRate: number;
  durationMs: string;
  hasPassed: boolean;
}

const summaryType = (name: string, description: string) =>
  builder.objectRef<Summary>(name).implement({
    description,
    fields: (t) => ({
      packId: t.id({ description: "The pack's id.", resolve: ({ packId }) => globalId("Pack", packId) }),
      packRef: t.exposeString("packRef", { description: "The pack's ref." }),
      packLabel: t.exposeString("packLabel", { description: "The pack's label." }),
      testExecutionId: t.id({
        description: "The id of the `PackTestExecution`, which has the whole result.",
        resolve: ({ run }) => globalId("PackTestExecution", run),
      }),
      packVersion: t.exposeString("packVersion", { description: "The version that was tested." }),
      executionTime: t.field({
        type: "DateTime",
        description: "When the tests ran.",
        resolve: ({ executionMs }) => new Date(executionMs),
      }),
      triggerReason: t.expose("triggerReason", { type: PackTestReason, description: "Why they ran." }),
      totalTests: t.exposeInt("totalTests", { description: "The number of tests." }),
      passed: t.exposeInt("passed", { description: "Those that passed." }),
      failed: t.exposeInt("failed", { description: "Those that did not, as in `PackTestExecution`." }),
      skipped: t.exposeInt("skipped", { description: "Those that were skipped." }),
      passRate: t.exposeFloat("passRate", { description: "The part that passed, from 0 to 1." }),
      durationMs: t.field({
        type: "BigInt",
        description: "How long they took, in milliseconds.",
        resolve: ({ durationMs }) => BigInt(durationMs),
      }),
      hasPassed: t.exposeBoolean("hasPassed", { description: "Whether there were tests and none failed." }),
    }),
  });

const PackTestSummary = summaryType("PackTestSummary", "One run of a pack's tests, without its tests.");
const PackLatestTest = summaryType("PackLatestTest", "The newest run of a pack's tests, without its tests.");

const summaryColumns = sql.raw(`s.pack_id::text as "packId", s.pack_ref as "packRef", s.pack_label as "packLabel",
  s.test_execution_id::text as run, s.pack_version as "packVersion",
  (extract(epoch from s.execution_time) * 1000)::float8 as "executionMs", s.trigger_reason as "triggerReason",
  s.total_tests as "totalTests", s.passed, s.failed, s.skipped, s.pass_rate as "passRate", s.duration_ms::text as "durationMs",
  s.has_passed as "hasPassed"`);

async function findLatest(packs: readonly bigint[], { db }: Context): Promise<ReadonlyMap<bigint, Summary>> {
  const found = await rows<Summary>(
    db,
    sql`select ${summaryColumns} from attune.pack p cross join lateral (select * from attune.pack_test_summary t
        where t.pack_id = p.id order by t.execution_time desc, t.test_execution_id desc limit 1) s
      where p.id = ${anyOf(packs.map(String))}`,
  );
  return new Map(found.map((each) => [BigInt(each.packId), each]));
}

const findSummaries =
  (first: number) =>
  async (packs: readonly bigint[], { db }: Context): Promise<ReadonlyMap<bigint, Summary[]>> => {
    const found = await rows<Summary>(
      db,
      sql`select ${summaryColumns} from attune.pack p cross join lateral (select * from attune.pack_test_summary t
          where t.pack_id = p.id order by t.execution_time desc, t.test_execution_id desc limit ${first}::int) s
        where p.id = ${anyOf(packs.map(String))} order by s.pack_id, s.execution_time desc, s.test_execution_id desc`,
    );
    return Map.groupBy(found, ({ packId }) => BigInt(packId));
  };

const findReleases =
  (first: number) =>
  async (packs: readonly bigint[], { db }: Context): Promise<ReadonlyMap<bigint, Release[]>> => {
    const found = await rows<Release & { pack: string }>(
      db,
      sql`select p.id::text as pack, r.version, r.digest, r.size::text, r.id = p.active_release as "isActive",
          (extract(epoch from r.created) * 1000)::float8 as "createdMs"
        from attune.pack p cross join lateral (select * from attune.pack_release o where o.pack = p.id
          order by o.id desc limit ${first}::int) r
        where p.id = ${anyOf(packs.map(String))} order by p.id, r.id desc`,
    );
    return Map.groupBy(found, ({ pack }) => BigInt(pack));
  };

function pageOf(first: number | null | undefined): number {
  const page = first ?? 20;
  if (page < 1 || page > most) throw invalid("first", `must be from 1 to ${most}`);
  return page;
}

const loadLatest = createBatchLoader<Summary>();
const loadSummaries = createBatchLoader<Summary[]>();
const loadReleases = createBatchLoader<Release[]>();

builder.drizzleObjectFields(Pack, (t) => {
  const complexity = ({ first }: { first?: number | null }) => ({ field: 10, multiplier: Math.max(1, first ?? 20) });
  const args = { first: t.arg.int({ defaultValue: 20, description: `How many, at most ${most}.` }) };
  const select = { columns: { id: true } } as const;
  return {
    releases: t.field({
      type: [PackRelease],
      nullable: true,
      description:
        "The versions of its files that were loaded or installed, the newest first; none of a pack made by hand.",
      ...{ complexity, args, select },
      resolve: async ({ id }, { first }, ctx, info) =>
        (await loadReleases(id, findReleases(pageOf(first)), ctx, info)) ?? [],
    }),
    testSummaries: t.field({
      type: [PackTestSummary],
      nullable: true,
      description:
        "The runs of its tests without their results, the newest first. `testRuns` filters them and has the results.",
      ...{ complexity, args, select },
      resolve: async ({ id }, { first }, ctx, info) =>
        (await loadSummaries(id, findSummaries(pageOf(first)), ctx, info)) ?? [],
    }),
    latestTest: t.field({
      type: PackLatestTest,
      nullable: true,
      description: "The newest run of its tests; null: they were never run.",
      complexity: 10,
      select,
      resolve: async ({ id }, _args, ctx, info) => (await loadLatest(id, findLatest, ctx, info)) ?? null,
    }),
  };
});
