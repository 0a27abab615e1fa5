import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createExecutionToken } from "../../src/access/execution-token.ts";
import type { Session } from "../../src/access/session.ts";
import { findSession } from "../../src/access/sessions.ts";
import { loadPack } from "../../src/catalog/load.ts";
import { readPack } from "../../src/catalog/read.ts";
import { write } from "../../src/db/tx.ts";
import { ConflictError, ForbiddenError, NotFoundError } from "../../src/errors.ts";
import { createEvent } from "../../src/event/record.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { claimExecutions } from "../../src/execution/claim.ts";
import { executeAction } from "../../src/execution/execute.ts";
import { finishExecutions } from "../../src/execution/finish.ts";
import { loseExecutions } from "../../src/execution/lose.ts";
import { createInquiry } from "../../src/inquiry/create.ts";
import { respondToInquiry } from "../../src/inquiry/respond.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { packRules } from "../../src/rule/check.ts";
import { createRule } from "../../src/rule/rule.ts";
import { commit } from "../support/commit.ts";
import { createEvaluator } from "../support/evaluator.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";
import { permissionSet, person, sessionOf } from "./people.ts";

const pack = fileURLToPath(new URL("pack", import.meta.url));
const runtimeRef = "core.action.shell";
const everything = { resource: "*", actions: ["*"] };
const copies = mkdtempSync(join(tmpdir(), "attune-copies-"));

let world: World;
let fake: { id: string; name: string };

beforeAll(async () => {
  world = await createWorld();
  const read = await readPack(pack);
  await write(world.services, (tx) => loadPack(tx, read, packRules));
  fake = await world.workerRow();
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  rmSync(copies, { recursive: true });
});

/** Creates an action by hand with these permission sets; returns its ref. */
const action = (sets: string[], onWorkerLoss = "requeue"): Promise<string> =>
  world.action({ entrypoint: "a.sh", on_worker_loss: onWorkerLoss, permission_set_refs: sets }, runtimeRef);

const start = async (session: Session, ref: string) =>
  String(
    (
      await commit(world.services, executeAction, session, {
        action: ref,
        parameters: null,
        timeoutSeconds: null,
        priority: null,
      })
    ).id,
  );

interface Begun {
  id: string;
  attempt: number;
  token: string | null;
}

/** Claims the execution as a worker does and creates its token. */
async function begin(id: string): Promise<Begun> {
  const claims = await write(
    world.services,
    async (tx) => (await claimExecutions(tx, fake, { runtimeRef, limit: 100 })).claims,
  );
  const claim = claims.find((each) => each.id === id);
  if (!claim) throw new Error(`execution ${id} was not claimed`);
  return { id, attempt: claim.attempt, token: await write(world.services, (tx) => createExecutionToken(tx, claim)) };
}

const sessionOfRun = (run: Begun) => sessionOf(world, run.token ?? "");
const isOver = async ({ token }: Begun) => (await findSession(world.services.db, token ?? "")) === null;
const finish = ({ id, attempt }: Begun) =>
  write(world.services, (tx) =>
    finishExecutions(tx, [{ id, attempt, status: "completed", result: null, error: null, reason: null }]),
  );
const executionOf = (id: string) =>
  world.one<{
    parent: string | null;
    root: string | null;
    depth: number;
    traceTag: string;
    generation: number;
    status: string;
  }>(
    sql`select parent::text as "parent", root::text as "root", depth as "depth", trace_tag as "traceTag",
      generation as "generation", status as "status" from attune.execution where id = ${id}::bigint`,
  );
const statusOf = async (inquiry: bigint) =>
  (await world.one<{ status: string }>(sql`select status from attune.inquiry where id = ${String(inquiry)}::bigint`))
    .status;

/** The file behind a path such as /proc/1/fd/3, which is another one once the number is used again; "" when there is none. */
function targetOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

describe("the token of an execution", () => {
  test("is in a private file while the action runs, and is revoked afterwards", async () => {
    const worker = await world.startWorker();
    const copy = join(copies, "token");
    const id = await world.execute("asker.hold", { copy });
    await until(() => existsSync(copy), "the action's token");
    const token = readFileSync(copy, "utf8");
    expect(await sessionOf(world, token)).toMatchObject({ kind: "execution", login: "admin", executionId: BigInt(id) });
    const stored = await world.one<JsonObject>(
      sql`select to_jsonb(t) as row from attune.token t where execution = ${id}::bigint`,
    );
    expect(JSON.stringify(stored)).not.toContain(token);
    rmSync(copy);
    const data = (await world.ended(id)).result?.["data"] as JsonObject;
    expect(data).toMatchObject({ mode: "600", bytes: token.length });
    expect(await findSession(world.services.db, token)).toBeNull();
    await until(() => !targetOf(String(data["file"])).includes("attune-scratch"), "the file to be closed");
    const without = await world.ended(await world.execute("core.shell", { command: "env" }));
    expect(without.result?.["data"]).toContain("ATTUNE_EXEC_ID=");
    expect(without.result?.["data"]).not.toContain("ATTUNE_TOKEN_FILE");
    await worker.stop();
  });

  test("has the grants of its sets, limited at any time to those of the identity that requested the execution", async () => {
    const events = { resource: "event", actions: ["create"], constraints: { refs: ["asker.tick"] } };
    const keys = { resource: "key", actions: ["read"] };
    const ref = await action([await permissionSet(world, [events, keys])]);
    const basic = [
      { resource: "event", actions: ["create"] },
      { resource: "action", actions: ["execute"] },
    ];
    const someone = await person(world, { grants: basic });
    await expect(start(await someone.session(), ref)).rejects.toThrow(NotFoundError);
    const reader = await person(world, { grants: [...basic, { resource: "permission_set", actions: ["read"] }] });
    await expect(start(await reader.session(), ref)).rejects.toThrow(ForbiddenError);
    const more = await permissionSet(world, [keys]);
    await world.all(
      sql`insert into attune.permission_assignment (identity, permission_set)
        select ${someone.id}::bigint, s.id from attune.permission_set s where s.ref = ${more}`,
    );
    const run = await begin(await start(await someone.session(), ref));
    expect(await sessionOfRun(run)).toMatchObject({ identityId: BigInt(someone.id), grants: [events, keys] });
    await world.all(sql`delete from attune.permission_set where ref = ${more}`);
    expect((await sessionOfRun(run)).grants).toEqual([events]);
    await expect(
      commit(world.services, createEvent, await sessionOfRun(run), {
        trigger: "core.alert",
        payload: {},
        traceTag: null,
      }),
    ).rejects.toThrow(NotFoundError);
    await commit(world.services, createEvent, await sessionOfRun(run), {
      trigger: "asker.tick",
      payload: {},
      traceTag: null,
    });
    // A revoked grant is gone at once.
    await world.all(sql`delete from attune.permission_assignment where identity = ${someone.id}::bigint`);
    expect((await sessionOfRun(run)).grants).toEqual([]);
    await expect(
      commit(world.services, createEvent, await sessionOfRun(run), {
        trigger: "asker.tick",
        payload: {},
        traceTag: null,
      }),
    ).rejects.toThrow(NotFoundError);
    await world.all(sql`update attune.identity set frozen = true where id = ${someone.id}::bigint`);
    expect(await isOver(run)).toBe(true);
  });

  test("is revoked with the attempt, however the attempt ends", async () => {
    const ref = await action([await permissionSet(world, [everything])]);
    const ended = await begin(await start(world.session, ref));
    expect(await isOver(ended)).toBe(false);
    await finish(ended);
    expect(await isOver(ended)).toBe(true);
    const lost = await begin(await start(world.session, ref));
    await write(world.services, (tx) => loseExecutions(tx, sql`e.id = ${lost.id}::bigint`, "gone"));
    expect([(await executionOf(lost.id)).status, await isOver(lost)]).toEqual(["scheduled", true]);
    const again = await begin(lost.id);
    expect([await isOver(again), await isOver(lost)]).toEqual([false, true]);
    // The previous attempt gets no new token.
    expect(await write(world.services, (tx) => createExecutionToken(tx, lost))).toBeNull();
    await commit(world.services, cancelExecution, world.session, { id: BigInt(again.id), reason: null });
    expect([(await executionOf(again.id)).status, await isOver(again)]).toEqual(["canceling", false]);
    await finish(again);
    expect([(await executionOf(again.id)).status, await isOver(again)]).toEqual(["cancelled", true]);
  });

  test("belongs to the rule's owner; a pack's rule has a token without an identity; an ad hoc rule without an owner has none", async () => {
    const ref = await action([await permissionSet(world, [{ resource: "key", actions: ["read"] }])]);
    const owner = await person(world, { grants: [everything] });
    const trigger = await world.trigger();
    await commit(world.services, createRule, await owner.session(), { ref: "default.owned", trigger, action: ref });
    const { evaluate, enforced } = createEvaluator(world);
    const fire = async () => {
      const event = await world.event(trigger);
      await evaluate();
      return (await enforced(event))[0]?.execution ?? "";
    };
    const [owned, orphaned] = [await begin(await fire()), await fire()];
    expect(await sessionOfRun(owned)).toMatchObject({ identityId: BigInt(owner.id), grants: [{ resource: "key" }] });
    await world.all(sql`update attune.rule set owner = null where ref = 'default.owned'`);
    expect((await begin(orphaned)).token).toBeNull();
    await world.all(sql`update attune.rule set is_adhoc = false where ref = 'default.owned'`);
    const own = await sessionOfRun(await begin(await fire()));
    expect(own).toMatchObject({ identityId: null, login: "execution", grants: [{ resource: "key" }] });
  });
});

describe("with its token", () => {
  const holding = async () =>
    await begin(await start(world.session, await action([await permissionSet(world, [everything])])));

  test("an execution causes events: the next generation, the same trace; beyond generation 32 the loop is stopped", async () => {
    const run = await holding();
    const session = await sessionOfRun(run);
    const emit = async () =>
      String(
        (await commit(world.services, createEvent, session, { trigger: "asker.tick", payload: {}, traceTag: "mine" }))
          .id,
      );
    const event = (id: string) =>
      world.one(
        sql`select cause_execution::text as cause, trace_tag as trace, generation, skipped, evaluated_at is null as waits
          from attune.event where id = ${id}::bigint`,
      );
    const { traceTag } = await executionOf(run.id);
    expect(await event(await emit())).toEqual({
      cause: run.id,
      trace: traceTag,
      generation: 1,
      skipped: null,
      waits: true,
    });
    await world.all(sql`update attune.execution set generation = 32 where id = ${run.id}::bigint`);
    expect(await event(await emit())).toMatchObject({
      generation: 33,
      waits: false,
      skipped: expect.stringContaining("loop"),
    });
  });

  test("an execution creates children, which are cancelled with it", async () => {
    const run = await holding();
    const session = await sessionOfRun(run);
    const child = await start(session, await action([await permissionSet(world, [everything])]));
    const { traceTag } = await executionOf(run.id);
    expect(await executionOf(child)).toMatchObject({ parent: run.id, root: run.id, depth: 1, traceTag, generation: 0 });
    const grandchild = await start(await sessionOfRun(await begin(child)), "core.noop");
    expect(await executionOf(grandchild)).toMatchObject({ parent: child, root: run.id, depth: 2, traceTag });
    await commit(world.services, cancelExecution, world.session, { id: BigInt(run.id), reason: null });
    expect([(await executionOf(child)).status, (await executionOf(grandchild)).status]).toEqual([
      "canceling",
      "cancelled",
    ]);
    await expect(start(session, "core.noop")).rejects.toThrow(ConflictError);
  });

  test("a child that is created while its parent is cancelled is cancelled too, or refused", async () => {
    for (let round = 0; round < 5; round += 1) {
      const run = await holding();
      const session = await sessionOfRun(run);
      const [child] = await Promise.allSettled([
        start(session, "core.noop"),
        commit(world.services, cancelExecution, world.session, { id: BigInt(run.id), reason: null }),
      ]);
      if (child.status === "fulfilled") expect((await executionOf(child.value)).status).toBe("cancelled");
      else expect(child.reason).toBeInstanceOf(ConflictError);
    }
  });

  test("an execution creates inquiries without a grant, but neither it nor its descendants can respond", async () => {
    const bare = await begin(await start(world.session, await action([await permissionSet(world, [])])));
    const asked = await commit(world.services, createInquiry, await sessionOfRun(bare), { prompt: "?" });
    expect(
      await world.one(sql`select execution::text from attune.inquiry where id = ${String(asked.id)}::bigint`),
    ).toEqual({ execution: bare.id });
    await finish(bare);
    expect(await statusOf(asked.id)).toBe("cancelled");

    const run = await holding();
    const session = await sessionOfRun(run);
    const { id } = await commit(world.services, createInquiry, session, { prompt: "?", assignedTo: "admin" });
    const respond = (by: Session) => commit(world.services, respondToInquiry, by, { id, response: true });
    await expect(respond(session)).rejects.toThrow(ForbiddenError);
    const child = await begin(await start(session, await action([await permissionSet(world, [everything])])));
    await expect(respond(await sessionOfRun(child))).rejects.toThrow(ForbiddenError);
    // Another execution of the assignee can respond only with a grant of its own sets.
    const stranger = await begin(await start(world.session, await action([await permissionSet(world, [])])));
    await expect(respond(await sessionOfRun(stranger))).rejects.toThrow(NotFoundError);
    expect(await statusOf(id)).toBe("pending");
    await respond(await sessionOfRun(await holding()));
    expect(await statusOf(id)).toBe("responded");
    // It does not wait as core.inquire does: it continues.
    expect((await executionOf(run.id)).status).toBe("running");
  });

  test("a response does not end an execution that still has its worker", async () => {
    const run = await holding();
    const { id } = await commit(world.services, createInquiry, await sessionOfRun(run), { prompt: "?" });
    await commit(world.services, respondToInquiry, world.session, { id, response: true });
    expect((await executionOf(run.id)).status).toBe("running");
    const other = await commit(world.services, createInquiry, await sessionOfRun(run), { prompt: "?" });
    expect(await write(world.services, (tx) => loseExecutions(tx, sql`e.id = ${run.id}::bigint`, "gone"))).toBe(1);
    expect(await statusOf(other.id)).toBe("cancelled");
  });

  test("inquiries are cancelled with the attempt", async () => {
    const run = await holding();
    const session = await sessionOfRun(run);
    const ask = () => commit(world.services, createInquiry, session, { prompt: "?" });
    const lost = await ask();
    await write(world.services, (tx) => loseExecutions(tx, sql`e.id = ${run.id}::bigint`, "gone"));
    expect(await statusOf(lost.id)).toBe("cancelled");
    await expect(ask()).rejects.toThrow(ConflictError);
    const again = await begin(run.id);
    const { id } = await commit(world.services, createInquiry, await sessionOfRun(again), { prompt: "?" });
    await commit(world.services, cancelExecution, world.session, { id: BigInt(run.id), reason: null });
    expect(await statusOf(id)).toBe("cancelled");
  });
});
