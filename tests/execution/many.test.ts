import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
});
afterEach(() => world.all(sql`with gone as (delete from attune_jobs.job) delete from attune.execution`));
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

/** Inserts executions of an action, as they are after they ended. */
const insert = (action: string, status: string, count: number) =>
  world
    .all<{ id: string }>(
      sql`insert into attune.execution (action, action_ref, on_worker_loss, config)
      select id, ref, 'abandon', case ref when 'core.echo' then '{"message": "x"}'::jsonb else '{}' end from attune.action, generate_series(1, ${count}::int) where ref = ${action}
      returning id::text`,
    )
    .then(async (rows) => {
      const ids = rows.map(({ id }) => id);
      await world.services.db.transaction(async (tx) => {
        await tx.execute(sql`set local session_replication_role = replica`);
        await tx.execute(
          sql`update attune.execution set status = ${status}::attune.execution_status,
          finished_at = case when attune.is_terminal(${status}::attune.execution_status) then now() end
          where id = any (${`{${ids.join(",")}}`}::text::bigint[])`,
        );
      });
      return ids;
    });

interface Progress {
  done: number;
  refused: { executionId: string; code: string }[];
  next: string | null;
}
async function call(name: "cancelExecutions" | "retryExecutions", input: object, session = world.session) {
  const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  const { data, errors } = await api.ask(
    session,
    `mutation($input: ${type}Input!) { ${name}(input: $input) { __typename ... on ${type}Payload { done next refused { executionId code } }
      ... on Error { message } } }`,
    { input },
  );
  expect(errors).toBeUndefined();
  return data[name] as Progress & { __typename: string; message?: string };
}

/** Calls until there are no more. Returns how many each call did. */
async function all(name: "cancelExecutions" | "retryExecutions", input: object): Promise<number[]> {
  const done: number[] = [];
  for (let after: string | null = null; ; ) {
    const progress: Progress = await call(name, { ...input, after });
    expect(progress.refused).toEqual([]);
    done.push(progress.done);
    after = progress.next;
    if (after === null) return done;
  }
}

const counts = async () =>
  Object.fromEntries(
    (
      await world.all<{ what: string; count: number }>(
        sql`select action_ref || ' ' || status as what, count(*)::int as count from attune.execution group by 1`,
      )
    ).map(({ what, count }) => [what, count]),
  );

test("cancels what matches and has not ended, a hundred at a time", async () => {
  await insert("core.noop", "scheduled", 230);
  await insert("core.echo", "scheduled", 3);
  await insert("core.noop", "failed", 2);
  expect(await all("cancelExecutions", { where: { action: { eq: "core.noop" } }, reason: "too many" })).toEqual([
    100, 100, 30,
  ]);
  expect(await counts()).toEqual({ "core.noop cancelled": 230, "core.noop failed": 2, "core.echo scheduled": 3 });
  expect(await world.all(sql`select distinct reason from attune.execution where status = 'cancelled'`)).toEqual([
    { reason: "too many" },
  ]);
});

test("runs again what failed for good, each once, and not what the reruns become", async () => {
  await insert("core.echo", "failed", 120);
  await insert("core.echo", "timeout", 5);
  await insert("core.echo", "completed", 7);
  const where = { failedForGood: { eq: true } };
  const find = async () => {
    const { data } = await api.ask(
      world.session,
      "query($where: ExecutionWhere) { executions(where: $where) { totalCount { count } } }",
      { where },
    );
    return data.executions.totalCount.count;
  };
  expect(await find()).toBe(125);
  const first = await call("retryExecutions", { where });
  expect(first).toMatchObject({ done: 100, refused: [] });
  // What was run again fails at once, and is not run again by the next call.
  await world.services.db.transaction(async (tx) => {
    await tx.execute(sql`set local session_replication_role = replica`);
    await tx.execute(
      sql`update attune.execution set status = 'failed', finished_at = now() where rerun_of is not null`,
    );
  });
  expect(await call("retryExecutions", { where, after: first.next })).toMatchObject({
    done: 25,
    refused: [],
    next: null,
  });
  expect(
    await world.one(
      sql`select count(*)::int as count, count(distinct rerun_of)::int as different from attune.execution where rerun_of is not null`,
    ),
  ).toEqual({ count: 125, different: 125 });
  expect(await find()).toBe(100);
});

test("goes on where one is refused, and says which", async () => {
  const [first] = await insert("core.echo", "failed", 1);
  await insert("core.noop", "failed", 1);
  await world.all(sql`update attune.action set enabled = false where ref = 'core.echo'`);
  const progress = await call("retryExecutions", { where: { status: { eq: "FAILED" } } });
  expect(progress).toMatchObject({
    done: 1,
    refused: [{ executionId: btoa(`Execution:${first}`), code: "CONFLICT" }],
    next: null,
  });
  await world.all(sql`update attune.action set enabled = true where ref = 'core.echo'`);
});

test("concerns only what the session may read and cancel", async () => {
  await insert("core.noop", "scheduled", 2);
  await insert("core.echo", "scheduled", 2);
  const person = await createPerson(world.services, "one", {
    grants: [
      { resource: "execution", actions: ["read"], constraints: { refs: ["core.noop", "core.echo"] } },
      { resource: "execution", actions: ["cancel"], constraints: { refs: ["core.noop"] } },
    ],
  });
  const { done, refused } = await call("cancelExecutions", { where: { status: { eq: "SCHEDULED" } } }, person);
  expect([done, refused.map(({ code }) => code)]).toEqual([2, ["FORBIDDEN", "FORBIDDEN"]]);
  const blind = await createPerson(world.services, "blind", {
    grants: [{ resource: "execution", actions: ["cancel"] }],
  });
  expect(await call("cancelExecutions", { where: { status: { eq: "SCHEDULED" } } }, blind)).toMatchObject({
    done: 0,
    refused: [],
  });
  expect(await counts()).toEqual({ "core.noop cancelled": 2, "core.echo scheduled": 2 });
});

test.each([
  [{ where: {} }, "where: must have at least one condition"],
  [{ where: { id: { eq: "x" } } }, 'where.id.eq: "x" is not an id'],
  [{ where: { status: { eq: "FAILED" } }, after: "7" }, "after: must be the `next` of the previous call"],
])("refuses %o", async (input, message) => {
  expect(await call("retryExecutions", input)).toMatchObject({ __typename: "InvalidInputError", message });
});
