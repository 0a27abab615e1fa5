import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { ConflictError, ForbiddenError, InvalidInputError, NotFoundError } from "../../src/errors.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { expireInquiries } from "../../src/executor/inquiries.ts";
import { sweep } from "../../src/executor/sweep.ts";
import { cancelInquiry } from "../../src/inquiry/cancel.ts";
import { askAndPark, createInquiry } from "../../src/inquiry/create.ts";
import { respondToInquiry } from "../../src/inquiry/respond.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
import { createWorld, type Part, type World } from "../support/world.ts";
import { person } from "./people.ts";

interface Row {
  id: string;
  execution: string | null;
  status: string;
  response: Json;
  respondedBy: string | null;
}

const approve = { approved: { type: "boolean", required: true }, note: { type: "string", default: "none" } };

let world: World;
let worker: Part;

beforeAll(async () => {
  world = await createWorld();
  worker = await world.startWorker(1);
});
afterAll(() => world[Symbol.asyncDispose]());

const inquiry = (id: bigint | string) =>
  world.one<Row>(
    sql`select id::text as "id", execution::text as "execution", status as "status", response as "response",
      responded_by::text as "respondedBy" from attune.inquiry where id = ${String(id)}::bigint`,
  );

/** Executes core.inquire and waits for the inquiry. */
async function inquire(parameters: JsonObject, timeoutSeconds?: number): Promise<{ execution: string; id: bigint }> {
  const execution = await world.execute("core.inquire", { prompt: "Go on?", ...parameters }, timeoutSeconds);
  const found = await until(
    async () =>
      (await world.all<Row>(sql`select id::text from attune.inquiry where execution = ${execution}::bigint`))[0],
    "the inquiry",
  );
  return { execution, id: BigInt(found.id) };
}

const respond = async (session: World["session"], id: bigint, response: Json) =>
  await commit(world.services, respondToInquiry, session, { id, response });

/** Moves the inquiry's deadline into the past by this much. */
const pass = (id: bigint, seconds: number) =>
  world.all(
    sql`update attune.inquiry set timeout_at = timeout_at - make_interval(secs => ${seconds}::int) where id = ${String(id)}::bigint`,
  );

describe("core.inquire", () => {
  test("waits without a worker, and completes with the response", async () => {
    const { execution, id } = await inquire({ response_schema: approve });
    expect(await world.execution(execution)).toMatchObject({
      status: "running",
      waitsFor: "inquiry",
      worker: null,
      reason: "waits for a response",
    });
    await respond(world.session, id, { approved: true });
    const ended = await world.execution(execution);
    expect(ended).toMatchObject({
      status: "completed",
      error: null,
      result: { exit_code: 0, data: { response: { approved: true, note: "none" }, responded_by: "admin" } },
    });
    const data = ended.result?.["data"] as JsonObject;
    expect(Math.abs(Date.parse(String(data["responded_at"])) - Date.now())).toBeLessThan(60_000);
    expect(await world.timeline(execution)).toEqual([
      "->requested",
      "requested>scheduling",
      "scheduling>scheduled",
      "scheduled>running",
      "running>completed",
    ]);
    expect(await inquiry(id)).toMatchObject({ status: "responded", respondedBy: String(world.session.identityId) });
  });

  test("holds no slot: while three wait, a worker with one slot runs other executions", async () => {
    const waiting = [await inquire({}), await inquire({}), await inquire({})];
    expect((await world.ended(await world.execute("core.noop"))).status).toBe("completed");
    expect((await world.ended(await world.execute("core.echo", { message: "x" }))).status).toBe("completed");
    for (const { execution, id } of waiting) {
      expect((await world.execution(execution)).status).toBe("running");
      await respond(world.session, id, null);
      expect(await world.execution(execution)).toMatchObject({
        status: "completed",
        result: { data: { response: null } },
      });
    }
  });

  test("fails with the fault of its parameters, and creates no inquiry", async () => {
    const wrong: [JsonObject, string][] = [
      [{ response_schema: { a: { type: "strin" } } }, "response_schema.a.type"],
      [{ response_schema: { a: { type: "string", secret: true } } }, "response_schema.a.secret"],
      [{ assigned_to: "nobody-of-that-name" }, "assigned_to"],
      [{ assigned_role: "No Role" }, "assigned_role"],
      [
        { response_schema: approve, default_response: { approved: "yes" }, timeout_seconds: 9 },
        "default_response.approved",
      ],
      [{ default_response: 1 }, "default_response"],
    ];
    for (const [parameters, path] of wrong) {
      const ended = await world.ended(await world.execute("core.inquire", { prompt: "?", ...parameters }));
      expect(ended).toMatchObject({ status: "failed", error: { code: "BAD_USER_INPUT" } });
      expect(ended.error?.message).toContain(path);
      expect(await world.all(sql`select from attune.inquiry where execution = ${ended.id}::bigint`)).toEqual([]);
    }
  });

  test("is not lost while it waits, neither by the sweep nor by the end of its worker", async () => {
    const { execution, id } = await inquire({});
    await worker.stop();
    expect(await sweep(world.services)).toMatchObject({ lost: 0, timedOut: 0 });
    worker = await world.startWorker(1);
    expect(await world.execution(execution)).toMatchObject({ status: "running", attempt: 1 });
    await respond(world.session, id, "yes");
    expect((await world.execution(execution)).status).toBe("completed");
  });

  test("creates one inquiry, even if its worker retries after an unacknowledged commit", async () => {
    const { execution, id } = await inquire({});
    const again = { id: execution, attempt: 1, config: { prompt: "Go on?" } };
    expect(await write(world.services, (tx) => askAndPark(tx, again))).toBe(false);
    expect(await world.all(sql`select id from attune.inquiry where execution = ${execution}::bigint`)).toHaveLength(1);
    expect(await world.execution(execution)).toMatchObject({ status: "running", waitsFor: "inquiry" });
    await respond(world.session, id, 1);
    expect((await world.execution(execution)).status).toBe("completed");
  });

  test("is retried when its inquiry was deleted", async () => {
    const { execution, id } = await inquire({});
    await world.all(sql`delete from attune.inquiry where id = ${String(id)}::bigint`);
    expect(await sweep(world.services)).toMatchObject({ lost: 1 });
    const again = await until(
      async () =>
        (await world.all<Row>(sql`select id::text from attune.inquiry where execution = ${execution}::bigint`))[0],
      "the new inquiry",
    );
    await respond(world.session, BigInt(again.id), 1);
    expect(await world.execution(execution)).toMatchObject({ status: "completed", attempt: 2 });
  });

  test("keeps its execution's own deadline", async () => {
    const { execution, id } = await inquire({}, 60);
    expect((await expireInquiries(world.services)).nextMs).toBeLessThanOrEqual(60_000);
    await world.all(
      sql`update attune.execution set deadline = now() - interval '1 second' where id = ${execution}::bigint`,
    );
    expect(await expireInquiries(world.services)).toMatchObject({ ended: 1 });
    expect(await world.execution(execution)).toMatchObject({ status: "timeout", error: { code: "TIMEOUT" } });
    expect((await inquiry(id)).status).toBe("cancelled");
  });
});

describe("expiry", () => {
  test("uses the default, and records that it expired", async () => {
    const { execution, id } = await inquire({
      response_schema: approve,
      timeout_seconds: 60,
      default_response: { approved: false },
    });
    expect(await expireInquiries(world.services)).toMatchObject({ ended: 0 });
    await pass(id, 61);
    // The deadline applies even before the expiry is recorded.
    await expect(respond(world.session, id, { approved: true })).rejects.toThrow("has expired");
    expect(await expireInquiries(world.services)).toMatchObject({ ended: 1 });
    expect(await inquiry(id)).toMatchObject({
      status: "timeout",
      response: { approved: false, note: "none" },
      respondedBy: null,
    });
    expect(await world.execution(execution)).toMatchObject({
      status: "completed",
      reason: "no response in time: the default was used",
      result: {
        data: { response: { approved: false, note: "none" }, responded_by: null, responded_at: null, expired: true },
      },
    });
    await expect(respond(world.session, id, { approved: true })).rejects.toThrow(ConflictError);
    expect(await expireInquiries(world.services)).toMatchObject({ ended: 0 });
  });

  test("without a default times the execution out", async () => {
    const { execution, id } = await inquire({ timeout_seconds: 60 });
    await pass(id, 61);
    await expireInquiries(world.services);
    expect(await inquiry(id)).toMatchObject({ status: "timeout", response: null });
    expect(await world.execution(execution)).toMatchObject({
      status: "timeout",
      error: { code: "TIMEOUT", message: "no response in time" },
      result: null,
    });
  });

  test("happens when it is due, and once even if several processes expire inquiries concurrently", async () => {
    const executor = world.startExecutor();
    const { id } = await commit(world.services, createInquiry, world.session, { prompt: "Now?", timeoutSeconds: 1 });
    await until(async () => (await inquiry(id)).status === "timeout", "the expiry", 5000);
    await executor.stop();
    const several = [
      await inquire({ timeout_seconds: 60 }),
      await inquire({ timeout_seconds: 60 }),
      await inquire({ timeout_seconds: 60 }),
    ];
    for (const each of several) await pass(each.id, 61);
    const passes = await Promise.all([1, 2, 3].map(() => expireInquiries(world.services)));
    expect(passes.reduce((sum, { ended }) => sum + ended, 0)).toBe(3);
    for (const { execution } of several) {
      expect((await world.timeline(execution)).filter((step) => step === "running>timeout")).toHaveLength(1);
    }
  });
});

describe("responding", () => {
  test("is allowed to the assignee, by identity or role, and to identities with the grant", async () => {
    const [lead, helper, other] = [
      await person(world),
      await person(world, { roles: ["on-call"] }),
      await person(world),
    ];
    const any = await person(world, { grants: [{ resource: "inquiry", actions: ["respond"] }] });
    const reader = await person(world, { grants: [{ resource: "inquiry", actions: ["read"] }] });
    const create = () =>
      commit(world.services, createInquiry, world.session, {
        prompt: "Who?",
        assignedTo: lead.login,
        assignedRole: "on-call",
      });
    for (const { session } of [lead, helper, any]) {
      const { id } = await create();
      await expect(respond(await other.session(), id, 1)).rejects.toThrow(NotFoundError);
      await expect(respond(await reader.session(), id, 1)).rejects.toThrow(ForbiddenError);
      await respond(await session(), id, 1);
      expect((await inquiry(id)).status).toBe("responded");
      await expect(respond(await session(), id, 2)).rejects.toThrow("already has a response");
    }
    const { id } = await create();
    await world.all(sql`delete from attune.identity_role where identity = ${helper.id}::bigint`);
    await expect(respond(await helper.session(), id, 1)).rejects.toThrow(NotFoundError);
    expect((await inquiry(id)).status).toBe("pending");
  });

  test("accepts only valid responses, and reports each fault at its path", async () => {
    const { id } = await commit(world.services, createInquiry, world.session, { prompt: "?", responseSchema: approve });
    for (const [response, path] of [
      [{}, "response.approved"],
      [{ approved: "yes" }, "response.approved"],
      [{ approved: true, more: 1 }, "response.more"],
      ["yes", "response"],
    ] as const) {
      const refusal = await respond(world.session, id, response).catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(InvalidInputError);
      expect(refusal).toMatchObject({ issues: [{ path }] });
    }
    expect((await inquiry(id)).status).toBe("pending");
  });

  test("twice concurrently has one winner, in each of twenty rounds", async () => {
    for (let round = 0; round < 20; round += 1) {
      const { execution, id } = await inquire({});
      const responses = await Promise.allSettled([1, 2].map((response) => respond(world.session, id, response)));
      const won = responses.findIndex(({ status }) => status === "fulfilled");
      expect(responses.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      const lost = responses[1 - won];
      expect(lost?.status === "rejected" && lost.reason).toBeInstanceOf(ConflictError);
      expect((await inquiry(id)).response).toBe(won + 1);
      expect(await world.execution(execution)).toMatchObject({
        status: "completed",
        result: { data: { response: won + 1 } },
      });
    }
  });

  test("concurrently with the expiry: exactly one of them ends the inquiry", async () => {
    for (let round = 0; round < 5; round += 1) {
      const { execution, id } = await inquire({ timeout_seconds: 60 });
      const [response] = await Promise.allSettled([
        respond(world.session, id, 1),
        pass(id, 61).then(() => expireInquiries(world.services)),
      ]);
      await expireInquiries(world.services);
      const responded = response.status === "fulfilled";
      expect((await inquiry(id)).status).toBe(responded ? "responded" : "timeout");
      expect((await world.execution(execution)).status).toBe(responded ? "completed" : "timeout");
    }
  });
});

describe("cancelling", () => {
  test("an inquiry cancels the execution that waits for it", async () => {
    const { execution, id } = await inquire({});
    const other = await person(world, { grants: [{ resource: "inquiry", actions: ["read", "respond"] }] });
    await expect(commit(world.services, cancelInquiry, await other.session(), { id })).rejects.toThrow(ForbiddenError);
    await commit(world.services, cancelInquiry, world.session, { id });
    expect((await inquiry(id)).status).toBe("cancelled");
    expect(await world.execution(execution)).toMatchObject({
      status: "cancelled",
      reason: "the inquiry was cancelled by admin",
    });
    expect((await world.timeline(execution)).slice(-2)).toEqual(["running>canceling", "canceling>cancelled"]);
    await expect(commit(world.services, cancelInquiry, world.session, { id })).rejects.toThrow(ConflictError);
    await expect(respond(world.session, id, 1)).rejects.toThrow("was cancelled");
  });

  test("an execution cancels its inquiry, and ends at once", async () => {
    const { execution, id } = await inquire({});
    await commit(world.services, cancelExecution, world.session, { id: BigInt(execution), reason: "no need" });
    expect(await world.execution(execution)).toMatchObject({ status: "cancelled", reason: "no need" });
    expect((await inquiry(id)).status).toBe("cancelled");
    await expect(respond(world.session, id, 1)).rejects.toThrow(ConflictError);
  });
});

describe("an inquiry created by hand", () => {
  test("requires a grant and valid input", async () => {
    const other = await person(world);
    await expect(commit(world.services, createInquiry, await other.session(), { prompt: "?" })).rejects.toThrow(
      ForbiddenError,
    );
    const creator = await person(world, { grants: [{ resource: "inquiry", actions: ["create"] }] });
    const { id } = await commit(world.services, createInquiry, await creator.session(), { prompt: "?" });
    expect(await inquiry(id)).toMatchObject({ status: "pending", execution: null });
    for (const [fields, path] of [
      [{ prompt: " " }, "prompt"],
      [{ prompt: "x".repeat(4001) }, "prompt"],
      [{ prompt: "?", timeoutSeconds: 0 }, "timeoutSeconds"],
      [{ prompt: "?", responseSchema: { a: 1 } }, "responseSchema.a"],
    ] as const) {
      const refusal = await commit(world.services, createInquiry, world.session, fields).catch(
        (error: unknown) => error,
      );
      expect(refusal).toMatchObject({ name: "InvalidInputError", issues: [{ path }] });
    }
    const missing = { prompt: "?", assignedTo: "nobody-of-that-name" };
    await expect(commit(world.services, createInquiry, world.session, missing)).rejects.toMatchObject({
      code: "NOT_FOUND",
      kind: "identity",
    });
  });
});
