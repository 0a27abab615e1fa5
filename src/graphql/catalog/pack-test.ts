import { sql } from "drizzle-orm";
import { anyOf, rows } from "../../db/client.ts";
import { invalid } from "../../errors.ts";
import { testStatuses } from "../../pack-test/report.ts";
import { createBatchLoader } from "../kit/batch.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { PackTestReason, TestStatus } from "../kit/enums.ts";
import { byEnum, byId, byInt, byOwnId, byTime } from "../kit/filter.ts";
import { PackTestReasonFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { Pack } from "./pack.ts";

/** A stored result has these fields; rows of another origin may have others. */
interface StoredSuite {
  name?: unknown;
  runner_type?: unknown;
  total?: unknown;
  passed?: unknown;
  failed?: unknown;
  skipped?: unknown;
  duration_ms?: unknown;
  fault?: { message?: unknown } | null;
  test_cases?: unknown;
}
interface StoredCase {
  name?: unknown;
  status?: unknown;
  duration_ms?: unknown;
  error_message?: unknown;
  stdout?: unknown;
  stderr?: unknown;
}

const objectsIn = <T extends object>(value: unknown): T[] =>
  Array.isArray(value) ? value.filter((each): each is T => typeof each === "object" && each !== null) : [];
const textOf = (value: unknown) => (typeof value === "string" ? value : null);
const countOf = (value: unknown) => (Number.isSafeInteger(value) ? Number(value) : 0);
const statuses: readonly unknown[] = testStatuses;

const TestCaseResult = builder.objectRef<StoredCase>("TestCaseResult").implement({
  description: "A test of a pack in one run.",
  fields: (t) => ({
    name: t.string({
      description: "Its name, with those of its suite or class.",
      resolve: ({ name }) => textOf(name) ?? "",
    }),
    status: t.field({
      type: TestStatus,
      description: "How it ended.",
      resolve: ({ status }) => (statuses.includes(status) ? (status as "passed") : "error"),
    }),
    durationMs: t.int({
      description: "How long it took, in milliseconds.",
      resolve: (test) => countOf(test.duration_ms),
    }),
    errorMessage: t.string({
      nullable: true,
      description: "Why it failed.",
      resolve: (test) => textOf(test.error_message),
    }),
    stdout: t.string({
      nullable: true,
      description: "What it wrote to the standard output, as far as the format has it.",
      resolve: ({ stdout }) => textOf(stdout),
    }),
    stderr: t.string({
      nullable: true,
      description: "The same of the standard error.",
      resolve: ({ stderr }) => textOf(stderr),
    }),
  }),
});

const TestSuiteResult = builder.objectRef<StoredSuite>("TestSuiteResult").implement({
  description: "What one runner of a pack's tests reported.",
  fields: (t) => ({
    name: t.string({ description: "The runner's name.", resolve: ({ name }) => textOf(name) ?? "" }),
    runnerType: t.string({
      description: "Its type: script, unittest, pytest or node.",
      resolve: (suite) => textOf(suite.runner_type) ?? "",
    }),
    total: t.int({ description: "The number of its tests.", resolve: ({ total }) => countOf(total) }),
    passed: t.int({ description: "Those that passed.", resolve: ({ passed }) => countOf(passed) }),
    failed: t.int({ description: "Those that failed or ended in an error.", resolve: ({ failed }) => countOf(failed) }),
    skipped: t.int({ description: "Those that were skipped.", resolve: ({ skipped }) => countOf(skipped) }),
    durationMs: t.int({
      description: "How long it took, in milliseconds.",
      resolve: (suite) => countOf(suite.duration_ms),
    }),
    fault: t.string({
      nullable: true,
      description:
        "Why it has not passed, whatever its tests say: it did not start, did not end by itself, or reported nothing readable.",
      resolve: ({ fault }) => textOf(fault?.message),
    }),
    testCases: t.field({
      type: [TestCaseResult],
      description:
        "Its tests, as far as the format names them: at most 5,000 that passed or were skipped, and 5,000 others.",
      complexity: 10,
      args: { status: t.arg({ type: [TestStatus], description: "Only tests that ended so." }) },
      resolve: (suite, { status }) =>
        objectsIn<StoredCase>(suite.test_cases).filter(
          (test) => !status || (status as unknown[]).includes(test.status),
        ),
    }),
  }),
});

export const PackTestExecution = builder.drizzleNode("packTestExecutions", {
  name: "PackTestExecution",
  description: "One run of a pack's tests.",
  id: { column: (run) => run.id },
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
    passRate: t.exposeFloat("passRate", {
      description: "The part of the tests that passed, of those that were not skipped, from 0 to 1.",
    }),
    hasPassed: t.boolean({
      description: "Whether there were tests and none failed.",
      select: { columns: { totalTests: true, failed: true } },
      resolve: ({ totalTests, failed }) => totalTests > 0 && failed === 0,
    }),
    succeeded: t.boolean({
      description:
        "Whether every runner reported a readable result and enough tests passed: the pack's `min_pass_rate`.",
      select: { columns: { totalTests: true, failed: true, result: true } },
      resolve: ({ totalTests, failed, result }) =>
        typeof result["succeeded"] === "boolean" ? result["succeeded"] : totalTests > 0 && failed === 0,
    }),
    durationMs: t.expose("durationMs", { type: "BigInt", description: "How long they took, in milliseconds." }),
    suites: t.field({
      type: [TestSuiteResult],
      description: "What each runner reported.",
      complexity: 10,
      select: { columns: { result: true } },
      resolve: ({ result }) => objectsIn<StoredSuite>(result["test_suites"]),
    }),
    result: t.expose("result", {
      type: "JSONObject",
      description: "The whole result: `test_suites` with their `test_cases`.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When the run was stored." }),
    pack: t.relation("pack", { description: "The pack." }),
    execution: t.relation("execution", {
      nullable: true,
      description: "The execution that ran them; its log has their output.",
    }),
  }),
});

/** Lists of runs: filters, orders and connection. */
const runs = defineList("PackTestExecution", "packTestExecutions", {
  ref: PackTestExecution,
  where: {
    id: byOwnId("PackTestExecution", "The run itself."),
    pack: byId("Pack", "packId", "The pack."),
    triggerReason: byEnum(PackTestReasonFilter, "triggerReason", "Why the tests ran."),
    failed: byInt("failed", "How many failed."),
    totalTests: byInt("totalTests", "How many tests there were."),
    executionTime: byTime("executionTime", "When the tests ran."),
  },
  order: { executionTime: "When the tests ran." },
  defaultOrder: ["executionTime", "desc"],
});

addRootFields({
  table: "packTestExecutions",
  name: "PackTestExecution",
  one: "packTestExecution",
  many: "packTestExecutions",
  ref: PackTestExecution,
  list: runs,
  hasRef: false,
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

const mostHours = 87_600;
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
    args: { hours: t.arg.int({ defaultValue: 24, description: `The hours, from 1 to ${mostHours}.` }) },
    select: { columns: { id: true } },
    resolve: async ({ id }, { hours }, ctx, info) => {
      const within = hours ?? 24;
      if (within < 1 || within > mostHours) throw invalid("hours", `must be from 1 to ${mostHours}`);
      return (await loadPassing(id, findPassing(within), ctx, info)) ?? null;
    },
  }),
}));
