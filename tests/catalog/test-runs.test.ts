import { statSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createPack } from "../../src/catalog/pack.ts";
import { removeAll } from "../../src/retention/pass.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { createWorld, type World } from "../support/world.ts";

const directories = packDirectories();
let world: World;
let api: Api;
let ref: string;
let number = 0;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});
beforeEach(async () => {
  number += 1;
  ref = `tested${number}`;
  await commit(world.services, createPack, world.session, { ref });
});

/** Stores a run of four tests of the pack. */
const insertRun = (daysAgo: number, failed: number, reason = "manual", of = ref) =>
  world.services.db.execute(
    sql`insert into attune.pack_test_execution (pack_id, pack_version, execution_time, trigger_reason, total_tests, passed, failed, skipped,
        pass_rate, duration_ms, result)
      select id, '1.0.0', now() - make_interval(days => ${daysAgo}::int, mins => 1), ${reason}, 4, ${4 - failed}, ${failed}, 0,
        ${(4 - failed) / 4}, 100, '{"test_suites": []}' from attune.pack where ref = ${of}`,
  );

test("a pack shows its runs, the newest first, filtered by reason and outcome, with their count", async () => {
  await insertRun(3, 0, "install");
  await insertRun(2, 1);
  await insertRun(0, 0, "update");
  const { data, errors } = await api.ask(
    world.session,
    `query ($ref: String!) { pack: packByRef(ref: $ref) {
      all: testRuns { totalCount { count } nodes { triggerReason passRate hasPassed durationMs result packVersion } }
      latest: testRuns(first: 1) { nodes { triggerReason } }
      failed: testRuns(where: { failed: { gt: 0 } }) { nodes { triggerReason failed } }
      installed: testRuns(where: { triggerReason: { eq: INSTALL } }) { totalCount { count } }
    } }`,
    { ref },
  );
  expect(errors).toBeUndefined();
  const passed = { passRate: 1, hasPassed: true, durationMs: "100", result: { test_suites: [] }, packVersion: "1.0.0" };
  expect(data.pack).toEqual({
    all: {
      totalCount: { count: 3 },
      nodes: [
        { ...passed, triggerReason: "UPDATE" },
        { ...passed, triggerReason: "MANUAL", passRate: 0.75, hasPassed: false },
        { ...passed, triggerReason: "INSTALL" },
      ],
    },
    latest: { nodes: [{ triggerReason: "UPDATE" }] },
    failed: { nodes: [{ triggerReason: "MANUAL", failed: 1 }] },
    installed: { totalCount: { count: 1 } },
  });
});

test("a run is found by its id, and runs of all packs by their reason and their pack; a missing one is null", async () => {
  await commit(world.services, createPack, world.session, { ref: `${ref}_other` });
  await insertRun(0, 2, "validation");
  await insertRun(1, 0, "validation", `${ref}_other`);
  const list = `packTestExecutions(where: { triggerReason: { eq: VALIDATION } }, first: 5)`;
  const { data } = await api.ask(world.session, `{ ${list} { nodes { id failed pack { id ref } } } }`);
  expect(
    data.packTestExecutions.nodes.map((run: { failed: number; pack: { ref: string } }) => [run.pack.ref, run.failed]),
  ).toEqual([
    [ref, 2],
    [`${ref}_other`, 0],
  ]);
  const [{ id, pack }] = data.packTestExecutions.nodes;
  const one = await api.ask(
    world.session,
    `query ($id: ID!, $missing: ID!, $pack: ID!) { run: packTestExecution(id: $id) { id triggerReason totalTests suites { name } }
      missing: packTestExecution(id: $missing) { id } ofPack: packTestExecutions(where: { pack: { eq: $pack } }) { totalCount { count } } }`,
    { id, pack: pack.id, missing: Buffer.from("PackTestExecution:999999999").toString("base64") },
  );
  expect(one.data).toEqual({
    run: { id, triggerReason: "VALIDATION", totalTests: 4, suites: [] },
    missing: null,
    ofPack: { totalCount: { count: 1 } },
  });
});

test("old runs are deleted by age, except the newest of each pack", async () => {
  await insertRun(200, 0);
  await insertRun(100, 1);
  await insertRun(1, 0);
  await commit(world.services, createPack, world.session, { ref: `${ref}_idle` });
  await insertRun(200, 0, "install", `${ref}_idle`);
  await world.services.db.execute(sql`update attune.pack_test_execution set created = execution_time`);
  await removeAll(world.services, "pack_tests");
  const left = await world.all<{ pack: string; count: number }>(
    sql`select p.ref as pack, count(*)::int as count from attune.pack_test_execution t join attune.pack p on p.id = t.pack_id
      where p.ref in (${ref}, ${`${ref}_idle`}) group by 1 order by 1`,
  );
  expect(left).toEqual([
    { pack: ref, count: 1 },
    { pack: `${ref}_idle`, count: 1 },
  ]);
});

test("packs show their newest runs, statistics and whether they passed lately, in as many statements as one", async () => {
  await commit(world.services, createPack, world.session, { ref: `${ref}_other` });
  await insertRun(2, 0);
  await insertRun(1, 1);
  const ask = (refs: string[]) =>
    api.ask(
      world.session,
      `query ($refs: [String!]) { packs(where: { ref: { in: $refs } }) { nodes { ref
        testStats { totalExecutions successfulExecutions failedExecutions averagePassRate averageDurationMs lastTestAt lastTestPassed }
        hasPassingTests recently: hasPassingTests(hours: 72) testRuns(first: 1) { nodes { failed } }
      } } }`,
      { refs },
    );
  const before = world.services.statements.length;
  await ask([ref]);
  const ofOne = world.services.statements.length - before;
  const { data, errors } = await ask([ref, `${ref}_other`]);
  expect(errors).toBeUndefined();
  expect(world.services.statements.length - before - ofOne).toBe(ofOne);
  expect(data.packs.nodes).toEqual([
    {
      ref,
      testStats: {
        ...{ totalExecutions: 2, successfulExecutions: 1, failedExecutions: 1, averagePassRate: 0.875 },
        ...{ averageDurationMs: 100, lastTestAt: expect.any(String), lastTestPassed: false },
      },
      hasPassingTests: false,
      recently: true,
      testRuns: { nodes: [{ failed: 1 }] },
    },
    {
      ref: `${ref}_other`,
      testStats: {
        ...{ totalExecutions: 0, successfulExecutions: 0, failedExecutions: 0, averagePassRate: null },
        ...{ averageDurationMs: null, lastTestAt: null, lastTestPassed: null },
      },
      hasPassingTests: false,
      recently: false,
      testRuns: { nodes: [] },
    },
  ]);
});

test("packs show the summaries of their runs, the latest and the releases, in as many statements as one", async () => {
  const made = (version: string) =>
    directories({ "pack.yaml": `ref: ${ref}_made\nlabel: Made\nversion: ${version}\n` });
  const [first, second] = [made("1.0.0"), made("1.1.0")];
  for (const directory of [first, second]) await loadDirectory(world.services, directory);
  await insertRun(2, 0);
  await insertRun(1, 1, "validation");
  await insertRun(0, 0, "install", `${ref}_made`);
  const fields =
    "packId packRef packLabel testExecutionId packVersion executionTime triggerReason totalTests passed failed skipped passRate durationMs hasPassed";
  const ask = (refs: string[], more = "") =>
    api.ask(
      world.session,
      `query ($refs: [String!]) { packs(first: 2, where: { ref: { in: $refs } }) { nodes { id ref latestTest { ${fields} }
        testSummaries${more} { ${fields} } releases${more} { version digest size isActive created } testRuns { nodes { id executionTime } } } } }`,
      { refs },
    );
  const before = world.services.statements.length;
  await ask([ref]);
  const ofOne = world.services.statements.length - before;
  const { data, errors } = await ask([ref, `${ref}_made`]);
  expect(errors).toBeUndefined();
  expect(world.services.statements.length - before - ofOne).toBe(ofOne);
  const [tested, loaded] = data.packs.nodes;
  const runs = tested.testRuns.nodes;
  const summary = (index: number, more: object) => ({
    ...{ packId: tested.id, packRef: ref, packLabel: ref, packVersion: "1.0.0", totalTests: 4, skipped: 0 },
    ...{ testExecutionId: runs[index].id, executionTime: runs[index].executionTime, durationMs: "100" },
    ...more,
  });
  const newest = summary(0, { triggerReason: "VALIDATION", passed: 3, failed: 1, passRate: 0.75, hasPassed: false });
  const oldest = summary(1, { triggerReason: "MANUAL", passed: 4, failed: 0, passRate: 1, hasPassed: true });
  expect(tested).toMatchObject({ latestTest: newest, testSummaries: [newest, oldest], releases: [] });
  expect(loaded.latestTest).toMatchObject({ packRef: `${ref}_made`, packLabel: "Made", triggerReason: "INSTALL" });
  const size = String(statSync(join(first, "pack.yaml")).size);
  const release = { digest: expect.stringMatching(/^[0-9a-f]{64}$/), created: expect.any(String) };
  expect(loaded.releases).toEqual([
    { ...release, version: "1.1.0", isActive: true, size },
    { ...release, version: "1.0.0", isActive: false, size },
  ]);
  const page = (await ask([ref, `${ref}_made`], "(first: 1)")).data.packs.nodes;
  expect(page[0].testSummaries).toEqual([newest]);
  expect(page[1].releases).toMatchObject([{ version: "1.1.0" }]);
  expect((await ask([ref], "(first: 101)")).errors?.[0]?.message).toContain("first: must be from 1 to 100");
  await loadDirectory(world.services, first);
  expect((await ask([`${ref}_made`])).data.packs.nodes[0].releases).toMatchObject([
    { version: "1.1.0", isActive: false },
    { version: "1.0.0", isActive: true },
  ]);
});

const deletion = `mutation ($ref: String!, $days: Int!) { deletePackTestRuns(input: { pack: $ref, olderThanDays: $days }) {
  __typename ... on DeletePackTestRunsPayload { count pack { testRuns { totalCount { count } } } } ... on Error { message } } }`;

test("runs older than days are deleted, of that pack only", async () => {
  await commit(world.services, createPack, world.session, { ref: `${ref}_other` });
  await insertRun(10, 0);
  await insertRun(9, 1);
  await insertRun(1, 0);
  await insertRun(10, 0, "manual", `${ref}_other`);
  const { data } = await api.ask(world.session, deletion, { ref, days: 9 });
  expect(data.deletePackTestRuns).toEqual({
    __typename: "DeletePackTestRunsPayload",
    count: 2,
    pack: { testRuns: { totalCount: { count: 1 } } },
  });
  const { count } = await world.one<{ count: number }>(
    sql`select count(*)::int as count from attune.pack_test_summary where pack_ref = ${`${ref}_other`}`,
  );
  expect(count).toBe(1);
  const refused = await api.ask(world.session, deletion, { ref, days: -1 });
  expect(refused.data.deletePackTestRuns.message).toContain("olderThanDays: must be from 0 to 36500");
});

test("who may not update the pack deletes nothing, who may not read it sees no runs", async () => {
  await insertRun(10, 0);
  const reader = await createPerson(world.services, `reader${number}`, {
    grants: [{ resource: "pack", actions: ["read"], constraints: { pack_refs: [ref] } }],
  });
  const stranger = await createPerson(world.services, `stranger${number}`, {
    grants: [{ resource: "pack", actions: ["read"], constraints: { pack_refs: ["core"] } }],
  });
  const read = "query ($ref: String!) { pack: packByRef(ref: $ref) { testRuns { totalCount { count } } } }";
  expect((await api.ask(reader, read, { ref })).data.pack).toEqual({ testRuns: { totalCount: { count: 1 } } });
  expect((await api.ask(stranger, read, { ref })).data.pack).toBeNull();
  const { data } = await api.ask(reader, deletion, { ref, days: 0 });
  expect(data?.deletePackTestRuns?.__typename).not.toBe("DeletePackTestRunsPayload");
  expect((await api.ask(reader, read, { ref })).data.pack).toEqual({ testRuns: { totalCount: { count: 1 } } });
});
