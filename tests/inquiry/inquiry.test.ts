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

/** Asks by core.inquire and waits until the question stands and nobody runs the execution any more. */
async function ask(parameters: JsonObject, timeoutSeconds?: number): Promise<{ execution: string; id: bigint }> {
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

/** Makes it as if that long had passed. */
const pass = (id: bigint, seconds: number) =>
  world.all(
    sql`update attune.inquiry set timeout_at = timeout_at - make_interval(secs => ${seconds}::int) where id = ${String(id)}::bigint`,
  );

describe("core.inquire", () => {
  test("waits without a worker, and completes with the answer", async () => {
    const { execution, id } = await ask({ response_schema: approve });
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

  test("holds no slot: three wait beside a worker of one slot, which goes on working", async () => {
    const waiting = [await ask({}), await ask({}), await ask({})];
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

  test("fails with what is wrong with the question, and asks nothing", async () => {
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

  test("is not lost while it waits: neither the sweep nor the end of its worker takes it", async () => {
    const { execution, id } = await ask({});
    await worker.stop();
    expect(await sweep(world.services)).toMatchObject({ lost: 0, timedOut: 0 });
    worker = await world.startWorker(1);
    expect(await world.execution(execution)).toMatchObject({ status: "running", attempt: 1 });
    await respond(world.session, id, "yes");
    expect((await world.execution(execution)).status).toBe("completed");
  });

  test("is asked once, though its worker tries again because the first commit was not acknowledged", async () => {
    const { execution, id } = await ask({});
    const again = { id: execution, attempt: 1, config: { prompt: "Go on?" } };
    expect(await write(world.services, (tx) => askAndPark(tx, again))).toBe(false);
    expect(await world.all(sql`select id from attune.inquiry where execution = ${execution}::bigint`)).toHaveLength(1);
    expect(await world.execution(execution)).toMatchObject({ status: "running", waitsFor: "inquiry" });
    await respond(world.session, id, 1);
    expect((await world.execution(execution)).status).toBe("completed");
  });

  test("is asked anew when its question is gone", async () => {
    const { execution, id } = await ask({});
    await world.all(sql`delete from attune.inquiry where id = ${String(id)}::bigint`);
    expect(await sweep(world.services)).toMatchObject({ lost: 1 });
    const again = await until(
      async () =>
        (await world.all<Row>(sql`select id::text from attune.inquiry where execution = ${execution}::bigint`))[0],
      "the question, once more",
    );
    await respond(world.session, BigInt(again.id), 1);
    expect(await world.execution(execution)).toMatchObject({ status: "completed", attempt: 2 });
  });

  test("keeps its execution's own deadline", async () => {
    const { execution, id } = await ask({}, 60);
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
  test("takes the default, and says so", async () => {
    const { execution, id } = await ask({
      response_schema: approve,
      timeout_seconds: 60,
      default_response: { approved: false },
    });
    expect(await expireInquiries(world.services)).toMatchObject({ ended: 0 });
    await pass(id, 61);
    // Time is up, even before anybody has said so.
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

  test("without a default is a time-out of the execution", async () => {
    const { execution, id } = await ask({ timeout_seconds: 60 });
    await pass(id, 61);
    await expireInquiries(world.services);
    expect(await inquiry(id)).toMatchObject({ status: "timeout", response: null });
    expect(await world.execution(execution)).toMatchObject({
      status: "timeout",
      error: { code: "TIMEOUT", message: "no response in time" },
      result: null,
    });
  });

  test("comes by itself when it is due, and once though several look at the same time", async () => {
    const executor = world.startExecutor();
    const { id } = await commit(world.services, createInquiry, world.session, { prompt: "Now?", timeoutSeconds: 1 });
    await until(async () => (await inquiry(id)).status === "timeout", "the expiry", 5000);
    await executor.stop();
    const several = [
      await ask({ timeout_seconds: 60 }),
      await ask({ timeout_seconds: 60 }),
      await ask({ timeout_seconds: 60 }),
    ];
    for (const each of several) await pass(each.id, 61);
    const passes = await Promise.all([1, 2, 3].map(() => expireInquiries(world.services)));
    expect(passes.reduce((sum, { ended }) => sum + ended, 0)).toBe(3);
    for (const { execution } of several) {
      expect((await world.timeline(execution)).filter((step) => step === "running>timeout")).toHaveLength(1);
    }
  });
});

describe("answering", () => {
  test("is for the assignee, by identity or role, and for who may answer any", async () => {
    const [lead, helper, other] = [
      await person(world),
      await person(world, { roles: ["on-call"] }),
      await person(world),
    ];
    const any = await person(world, { grants: [{ resource: "inquiry", actions: ["respond"] }] });
    const reader = await person(world, { grants: [{ resource: "inquiry", actions: ["read"] }] });
    const make = () =>
      commit(world.services, createInquiry, world.session, {
        prompt: "Who?",
        assignedTo: lead.login,
        assignedRole: "on-call",
      });
    for (const { session } of [lead, helper, any]) {
      const { id } = await make();
      await expect(respond(await other.session(), id, 1)).rejects.toThrow(NotFoundError);
      await expect(respond(await reader.session(), id, 1)).rejects.toThrow(ForbiddenError);
      await respond(await session(), id, 1);
      expect((await inquiry(id)).status).toBe("responded");
      await expect(respond(await session(), id, 2)).rejects.toThrow("already has a response");
    }
    const { id } = await make();
    await world.all(sql`delete from attune.identity_role where identity = ${helper.id}::bigint`);
    await expect(respond(await helper.session(), id, 1)).rejects.toThrow(NotFoundError);
    expect((await inquiry(id)).status).toBe("pending");
  });

  test("takes only what keeps the schema, each fault at its path", async () => {
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

  test("of two at once, one wins: twenty times", async () => {
    for (let round = 0; round < 20; round += 1) {
      const { execution, id } = await ask({});
      const answers = await Promise.allSettled([1, 2].map((answer) => respond(world.session, id, answer)));
      const won = answers.findIndex(({ status }) => status === "fulfilled");
      expect(answers.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      const lost = answers[1 - won];
      expect(lost?.status === "rejected" && lost.reason).toBeInstanceOf(ConflictError);
      expect((await inquiry(id)).response).toBe(won + 1);
      expect(await world.execution(execution)).toMatchObject({
        status: "completed",
        result: { data: { response: won + 1 } },
      });
    }
  });

  test("and expiry at once: exactly one of them ends it", async () => {
    for (let round = 0; round < 5; round += 1) {
      const { execution, id } = await ask({ timeout_seconds: 60 });
      const [answer] = await Promise.allSettled([
        respond(world.session, id, 1),
        pass(id, 61).then(() => expireInquiries(world.services)),
      ]);
      await expireInquiries(world.services);
      const answered = answer.status === "fulfilled";
      expect((await inquiry(id)).status).toBe(answered ? "responded" : "timeout");
      expect((await world.execution(execution)).status).toBe(answered ? "completed" : "timeout");
    }
  });
});

describe("cancelling", () => {
  test("the inquiry cancels the execution that waits for it", async () => {
    const { execution, id } = await ask({});
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

  test("the execution cancels its inquiry, and it ends at once", async () => {
    const { execution, id } = await ask({});
    await commit(world.services, cancelExecution, world.session, { id: BigInt(execution), reason: "no need" });
    expect(await world.execution(execution)).toMatchObject({ status: "cancelled", reason: "no need" });
    expect((await inquiry(id)).status).toBe("cancelled");
    await expect(respond(world.session, id, 1)).rejects.toThrow(ConflictError);
  });
});

describe("asking by hand", () => {
  test("takes a grant, and a question that can be answered", async () => {
    const nobody = await person(world);
    await expect(commit(world.services, createInquiry, await nobody.session(), { prompt: "?" })).rejects.toThrow(
      ForbiddenError,
    );
    const asker = await person(world, { grants: [{ resource: "inquiry", actions: ["create"] }] });
    const { id } = await commit(world.services, createInquiry, await asker.session(), { prompt: "?" });
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
