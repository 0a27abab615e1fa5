import { sql } from "drizzle-orm";
import { anyOf, rows } from "../../db/client.ts";
import { createBatchLoader } from "../kit/batch.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { PackTestReason } from "../kit/enums.ts";
import { byEnum, byInt, byTime } from "../kit/filter.ts";
import { PackTestReasonFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { Pack } from "./pack.ts";

const PackTestExecution = builder.drizzleObject("packTestExecutions", {
  name: "PackTestExecution",
  description: "One run of a pack's tests.",
  select: { columns: { id: true } },
  fields: (t) => ({
    packVersion: t.exposeString("packVersion", { description: "The version that was tested." }),
    executionTime: t.expose("executionTime", { type: "DateTime", description: "When the tests ran." }),
    triggerReason: t.expose("triggerReason", { type: PackTestReason, description: "Why they ran." }),
    totalTests: t.exposeInt("totalTests", { description: "The number of tests." }),
    passed: t.exposeInt("passed", { description: "Those that passed." }),
    failed: t.exposeInt("failed", {
      description: "Those that failed or ended in an error, and the runners without a readable result.",
    }),
    skipped: t.exposeInt("skipped", { description: "Those that were skipped." }),
    passRate: t.exposeFloat("passRate", { description: "The part of the tests that passed, from 0 to 1." }),
    hasPassed: t.boolean({
      description: "Whether there were tests and none failed.",
      select: { columns: { totalTests: true, failed: true } },
      resolve: ({ totalTests, failed }) => totalTests > 0 && failed === 0,
    }),
    durationMs: t.expose("durationMs", { type: "BigInt", description: "How long they took, in milliseconds." }),
    result: t.expose("result", {
      type: "JSONObject",
      description: "The whole result: `test_suites` with their `test_cases`.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When the run was stored." }),
  }),
});

const runs = defineList("PackTestExecution", "packTestExecutions", {
  ref: PackTestExecution,
  where: {
    triggerReason: byEnum(PackTestReasonFilter, "triggerReason", "Why the tests ran."),
    failed: byInt("failed", "How many failed."),
    totalTests: byInt("totalTests", "How many tests there were."),
    executionTime: byTime("executionTime", "When the tests ran."),
  },
  order: { id: "The order in which the runs were stored." },
  defaultOrder: ["id", "desc"],
});

interface Stats {
  total: number;
  successful: number;
  failed: number;
  passRate: number | null;
  durationMs: number | null;
  lastMs: number | null;
  lastPassed: boolean | null;
}

const PackTestStats = builder.objectRef<Stats>("PackTestStats").implement({
  description: "All runs of a pack's tests together.",
  fields: (t) => ({
    totalExecutions: t.exposeInt("total", { description: "The number of runs." }),
    successfulExecutions: t.exposeInt("successful", { description: "Those that passed." }),
    failedExecutions: t.exposeInt("failed", { description: "The others." }),
    averagePassRate: t.exposeFloat("passRate", {
      nullable: true,
      description: "The average of their `passRate`; null without a run, as are the next ones.",
    }),
    averageDurationMs: t.exposeFloat("durationMs", { nullable: true, description: "How long they took on average." }),
    lastTestAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "When the newest run was.",
      resolve: ({ lastMs }) => (lastMs === null ? null : new Date(lastMs)),
    }),
    lastTestPassed: t.exposeBoolean("lastPassed", { nullable: true, description: "Whether the newest run passed." }),
  }),
});

const loadStats = createBatchLoader<Stats>();

/** Returns the statistics of packs by their ids. */
async function findStats(packs: readonly bigint[], { db }: Context): Promise<ReadonlyMap<bigint, Stats>> {
  const found = await rows<Stats & { pack: string }>(
    db,
    sql`select p.id::text as pack, s.total_executions::int as total, s.successful_executions::int as successful,
        s.failed_executions::int as failed, s.avg_pass_rate as "passRate", s.avg_duration_ms as "durationMs",
        (extract(epoch from s.last_test_time) * 1000)::float8 as "lastMs", s.last_test_passed as "lastPassed"
      from attune.pack p, attune.get_pack_test_stats(p.id) s where p.id = ${anyOf(packs.map(String))}`,
  );
  return new Map(found.map(({ pack, ...stats }) => [BigInt(pack), stats]));
}

const loadPassing = createBatchLoader<boolean>();

const findPassing =
  (hours: number) =>
  async (packs: readonly bigint[], { db }: Context): Promise<ReadonlyMap<bigint, boolean>> => {
    const found = await rows<{ pack: string; passing: boolean }>(
      db,
      sql`select p.id::text as pack, attune.pack_has_passing_tests(p.id, ${hours}::int) as passing
        from attune.pack p where p.id = ${anyOf(packs.map(String))}`,
    );
    return new Map(found.map(({ pack, passing }) => [BigInt(pack), passing]));
  };

builder.drizzleObjectFields(Pack, (t) => ({
  testRuns: t.relatedConnection("testRuns", runs.related("The runs of its tests, the newest first."), runs.connection),
  testStats: t.field({
    type: PackTestStats,
    nullable: true,
    description: "All runs of its tests together.",
    complexity: 10,
    select: { columns: { id: true } },
    resolve: async ({ id }, _args, ctx, info) => (await loadStats(id, findStats, ctx, info)) ?? null,
  }),
  hasPassingTests: t.boolean({
    nullable: true,
    description: "Whether a run of its tests passed within the last hours, however later ones ended.",
    complexity: 10,
    args: { hours: t.arg.int({ defaultValue: 24, description: "The hours, from 1 to 87600." }) },
    select: { columns: { id: true } },
    resolve: async ({ id }, { hours }, ctx, info) => {
      const within = Math.min(Math.max(hours ?? 24, 1), 87_600);
      return (await loadPassing(id, findPassing(within), ctx, info)) ?? null;
    },
  }),
}));
