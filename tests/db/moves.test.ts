import { type SQL, sql } from "drizzle-orm";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { executionStatus } from "../../src/db/schema.ts";
import { write } from "../../src/db/tx.ts";
import {
  type ExecutionStatus,
  firstStatuses,
  inProgress,
  moves,
  terminal,
  unstarted,
} from "../../src/execution/states.ts";
import { createServices, type TestServices } from "../support/database.ts";

let services: TestServices;
let worker: string;
beforeAll(async () => {
  services = await createServices();
  const [row] = await select<{ id: string }>(
    sql`insert into attune.worker (name, worker_type) values ('w', 'local') returning id::text`,
  );
  worker = row?.id ?? "";
});
afterAll(() => services[Symbol.asyncDispose]());

const statuses = executionStatus.enumValues;
const select = <T extends object>(query: SQL) => rows<T>(services.db, query);

function insert(status: ExecutionStatus): Promise<string> {
  return write(services, async (tx) => {
    const [row] = await rows<{ id: string }>(
      tx.db,
      sql`insert into attune.execution (action_ref, on_worker_loss, trace_tag, status, reason, finished_at)
        values ('core.noop', 'abandon', 't', ${status}, 'because', case when attune.is_terminal(${status}) then now() end)
        returning id::text`,
    );
    return row?.id ?? "";
  });
}

/** Whether the database allows the move; any refusal must be a conflict. */
async function attempt(id: string, to: ExecutionStatus): Promise<boolean> {
  try {
    await write(services, (tx) =>
      tx.db.execute(
        sql`update attune.execution set status = ${to},
          worker = coalesce(worker, case when attune.is_in_progress(${to}) then ${worker}::bigint end),
          finished_at = case when attune.is_terminal(${to}) then coalesce(finished_at, now()) end where id = ${id}::bigint`,
      ),
    );
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: "CONFLICT" });
    return false;
  }
}

const timeline = (id: string) =>
  select<{ from: string | null; to: string; reason: string | null }>(
    sql`select from_status as "from", to_status as "to", reason from attune.execution_transition
      where execution = ${id}::bigint order by id`,
  );

/** The shortest path from an insert to each status. */
function shortestPaths(): Map<ExecutionStatus, ExecutionStatus[]> {
  const paths = new Map<ExecutionStatus, ExecutionStatus[]>([["requested", ["requested"]]]);
  for (const [status, path] of paths) for (const to of moves[status]) if (!paths.has(to)) paths.set(to, [...path, to]);
  return paths;
}

async function createAt(status: ExecutionStatus): Promise<string> {
  const [first = "requested", ...rest] = shortestPaths().get(status) ?? [];
  const id = await insert(first);
  for (const step of rest) expect(await attempt(id, step)).toBe(true);
  return id;
}

describe("the status moves", () => {
  test("the moves in the database are the moves in the code", async () => {
    const stored = await select<{ move: string }>(
      sql`select coalesce(from_status::text, '-') || '>' || to_status as move from attune.execution_move`,
    );
    const coded = [
      ...firstStatuses.map((to) => `->${to}`),
      ...statuses.flatMap((from) => moves[from].map((to) => `${from}>${to}`)),
    ];
    expect(stored.map(({ move }) => move).sort()).toEqual(coded.sort());
  });

  test("the sets in the database are the sets in the code", async () => {
    const [sets] = await select<{ terminal: string[]; inProgress: string[] }>(
      sql`select array_agg(s::text) filter (where attune.is_terminal(s)) as "terminal",
          array_agg(s::text) filter (where attune.is_in_progress(s)) as "inProgress"
        from unnest(enum_range(null::attune.execution_status)) s`,
    );
    expect(sets?.terminal.sort()).toEqual([...terminal].sort());
    expect(sets?.inProgress.sort()).toEqual([...inProgress].sort());
  });

  test("the database allows exactly the pairs in the table", async () => {
    const allowed: string[] = [];
    for (const from of statuses) {
      let id = await createAt(from);
      for (const to of statuses) {
        if (to === from || !(await attempt(id, to))) continue;
        allowed.push(`${from}>${to}`);
        id = await createAt(from);
      }
    }
    expect(allowed).toEqual(
      statuses.flatMap((from) => statuses.filter((to) => moves[from].includes(to)).map((to) => `${from}>${to}`)),
    );
  });

  test("no random path leaves a terminal status, and the timeline is the allowed path", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...unstarted),
        fc.array(fc.constantFrom(...statuses), { maxLength: 12 }),
        async (first, attempts) => {
          const id = await insert(first);
          const path: ExecutionStatus[] = [...unstarted];
          path.splice(path.indexOf(first) + 1);
          for (const to of attempts) {
            const now: ExecutionStatus = path.at(-1) ?? first;
            const accepted = await attempt(id, to);
            expect(accepted).toBe(to === now || moves[now].includes(to));
            if (accepted && to !== now) path.push(to);
          }
          expect((await timeline(id)).map(({ to }) => to)).toEqual(path);
          const [row] = await select<{ status: string }>(
            sql`select status from attune.execution where id = ${id}::bigint`,
          );
          expect(row?.status).toBe(path.at(-1));
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("an insert", () => {
  const path: Partial<Record<ExecutionStatus, string[]>> = {
    requested: ["->requested"],
    scheduling: ["->requested", "requested>scheduling"],
    scheduled: ["->requested", "requested>scheduling", "scheduling>scheduled"],
    cancelled: ["->requested", "requested>scheduling", "scheduling>cancelled"],
    failed: ["->requested", "requested>scheduling", "scheduling>failed"],
  };

  test.each(firstStatuses.map((status) => [status]))("as %s records the path to it, once, in order", async (status) => {
    const id = await insert(status);
    const steps = await timeline(id);
    expect(steps.map(({ from, to }) => `${from ?? "-"}>${to}`)).toEqual(path[status]);
    // Only the last step has the reason.
    expect(steps.map(({ reason }) => reason)).toEqual(steps.map(({ to }) => (to === status ? "because" : null)));
    const notifications = await select<{ activity: string; step: string }>(
      sql`select n.activity, coalesce(n.content ->> 'fromStatus', '-') || '>' || (n.content ->> 'toStatus') as step
        from attune.notification n where n.channel = 'execution' and n.entity = ${id}::bigint order by n.id`,
    );
    expect(notifications.map(({ step }) => step)).toEqual(path[status]);
    expect(notifications.map(({ activity }) => activity)).toEqual(
      notifications.map((_, index) => (index === 0 ? "created" : "status")),
    );
  });

  test.each(statuses.filter((status) => !new Set<string>(firstStatuses).has(status)).map((status) => [status]))(
    "as %s is refused",
    async (status) => {
      await expect(insert(status)).rejects.toMatchObject({ code: "CONFLICT" });
    },
  );

  test("of many rows in one statement records the path of each", async () => {
    const inserted = await select<{ id: string }>(
      sql`insert into attune.execution (action_ref, on_worker_loss, trace_tag, status)
        select 'core.noop', 'abandon', 't', (array['requested', 'scheduled'])[1 + n % 2]::attune.execution_status
        from generate_series(0, 9) n returning id::text`,
    );
    const steps = await Promise.all(inserted.map(async ({ id }) => (await timeline(id)).length));
    expect(steps.sort()).toEqual([1, 1, 1, 1, 1, 3, 3, 3, 3, 3]);
  });
});

const clearable = {
  action: "action",
  parent: "execution",
  enforcement: "enforcement",
  executor: "identity",
  worker: "worker",
  retry_of: "execution",
  rerun_of: "execution",
  cancel_requested_by: "identity",
  pack_release: "pack_release",
} as const;

/** Creates an ended execution whose foreign keys each point to a separate row. */
async function createEnded(): Promise<string> {
  const [row] = await select<{ id: string }>(
    sql`with p as (insert into attune.pack (ref, label, version) values ('p' || gen_random_uuid(), 'p', '1.0.0') returning id),
      pr as (insert into attune.pack_release (pack, version, digest, manifest, path, size)
        select id, '1.0.0', 'd', '{}', '/', 1 from p returning id),
      a as (insert into attune.action (ref, label, entrypoint) values ('default.' || gen_random_uuid(), 'a', 'a') returning id, ref),
      w as (insert into attune.worker (name, worker_type) values ('w', 'local') returning id),
      f as (insert into attune.enforcement (rule_ref, trigger_ref) values ('default.r', 'default.t') returning id),
      i as (insert into attune.identity (login) select 'i' || gen_random_uuid() from generate_series(1, 2) returning id),
      x as (insert into attune.execution (action_ref, on_worker_loss, trace_tag, status)
        select 'core.noop', 'abandon', 't', 'scheduled' from generate_series(1, 3) returning id)
      insert into attune.execution (action_ref, rule_ref, trigger_ref, worker_name, on_worker_loss, trace_tag, status,
        finished_at, parent, enforcement, executor, cancel_requested_by, worker, retry_of, rerun_of, pack_release, action)
      select 'default.a', 'default.r', 'default.t', 'w', 'abandon', 't', 'failed', now(), (select min(id) from x), f.id,
        (select min(id) from i), (select max(id) from i), w.id, (select max(id) from x),
        (select id from x order by id offset 1 limit 1), pr.id, a.id from f, w, pr, a
      returning id::text`,
  );
  return row?.id ?? "";
}

const readRow = async (id: string) => {
  const [row] = await select<{ row: Record<string, unknown> }>(
    sql`select to_jsonb(e) as row from attune.execution e where id = ${id}::bigint`,
  );
  return row?.row ?? {};
};

describe("an ended execution", () => {
  test("refuses a change of any single column", async () => {
    const id = await createEnded();
    const before = await readRow(id);
    const columns = await select<{ name: string; type: string }>(
      sql`select a.attname as name, format_type(a.atttypid, null) as type from pg_attribute a
        where a.attrelid = 'attune.execution'::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> 'id'`,
    );
    expect(columns.length).toBeGreaterThan(40);
    const other: Record<string, string> = {
      text: "coalesce(%, '') || 'x'",
      bigint: "coalesce(%, 0) + 1",
      integer: "coalesce(%, 0) + 1",
      jsonb: `'{"changed": true}'::jsonb`,
      "timestamp with time zone": "now() + interval '1 day'",
      "text[]": "array['x']",
      "attune.execution_status": "'running'::attune.execution_status",
      execution_status: "'running'::attune.execution_status",
    };
    for (const { name, type } of columns) {
      const value = (other[type] ?? `no other value for ${type}`).replaceAll("%", name);
      const change = write(services, (tx) =>
        tx.db.execute(sql`update attune.execution set ${sql.raw(`${name} = ${value}`)} where id = ${id}::bigint`),
      );
      await expect(change, name).rejects.toMatchObject({ code: "CONFLICT" });
    }
    expect(await readRow(id)).toEqual(before);
  });

  test("accepts an update without changes, and stays the same", async () => {
    const id = await createEnded();
    const before = await readRow(id);
    expect(await attempt(id, "failed")).toBe(true);
    expect(await readRow(id)).toEqual(before);
  });

  test.each(Object.entries(clearable))("keeps all but %s when its %s is deleted", async (column, table) => {
    const id = await createEnded();
    const before = await readRow(id);
    expect(before[column]).toBeTypeOf("number");
    const seen = sql`select (select count(*) from attune.execution_transition)::int as steps,
      (select count(*) from attune.notification where channel = 'execution' and activity <> 'deleted')::int as notifications`;
    const [counted] = await select(seen);
    await write(services, (tx) =>
      tx.db.execute(sql`delete from attune.${sql.raw(table)} where id = ${String(before[column])}::bigint`),
    );
    expect(await readRow(id)).toEqual({ ...before, [column]: null });
    // The target may be an execution, whose timeline is deleted with it.
    const deletedSteps = table === "execution" ? 3 : 0;
    const [after] = await select<{ steps: number; notifications: number }>(seen);
    expect(after).toEqual({ ...counted, steps: Number((counted as { steps: number }).steps) - deletedSteps });
  });

  test("can be deleted with its timeline and its log", async () => {
    const id = await createEnded();
    await select(
      sql`insert into attune.execution_log (execution, seq, stream, at, text) values (${id}::bigint, 1, 'stdout', now(), 'x')`,
    );
    await select(sql`delete from attune.execution where id = ${id}::bigint`);
    expect(await timeline(id)).toEqual([]);
    expect(await select(sql`select from attune.execution_log where execution = ${id}::bigint`)).toEqual([]);
  });
});
