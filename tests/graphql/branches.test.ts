import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Constraints } from "../../src/access/constraints.ts";
import { may } from "../../src/access/grants.ts";
import { openSession, type Session } from "../../src/access/session.ts";
import { rows } from "../../src/db/client.ts";
import { type Api, createApi } from "../support/api.ts";
import { createServices, type TestServices } from "../support/database.ts";

// Lists that are read value by value have the same pages as other lists: each row once, in order, forward and backward.

interface Row {
  id: string;
  actionRef: string;
  status: string;
  executor: string;
}

let services: TestServices;
let api: Api;
let newestFirst: Row[];
beforeAll(async () => {
  services = await createServices();
  await services.db.execute(sql`insert into attune.identity (login) values ('one'), ('two'), ('three')`);
  // Three rows share each time, so that the id decides; the last inserted row is not the newest.
  await services.db.execute(sql`insert into attune.execution (action_ref, executor, on_worker_loss, trace_tag, status, finished_at, created)
    select 'pack' || n % 4 || '.a' || n % 6, 1 + n % 3, 'abandon', 't', status, case when status = 'failed' then now() end,
      timestamptz '2026-01-01' + make_interval(secs => n * 7 % 20)
    from generate_series(1, 60) n, lateral (select (array['requested', 'scheduled', 'failed'])[1 + n % 3]::attune.execution_status as status) s`);
  newestFirst = await rows<Row>(
    services.db,
    sql`select id::text, action_ref as "actionRef", upper(status::text) as status, executor::text from attune.execution x order by x.created desc, x.id desc`,
  );
  api = await createApi(services);
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await services[Symbol.asyncDispose]();
});

const sessionWith = (constraints: Constraints[]): Session => ({
  ...openSession("1"),
  grants: constraints.map((each) => ({ resource: "execution", actions: ["read"], constraints: each })),
});
const readers: [string, Session][] = [
  ["everything", openSession("1")],
  ["two packs", sessionWith([{ pack_refs: ["pack1", "pack2", "pack1"] }])],
  ["two actions, one of them twice", sessionWith([{ refs: ["pack1.a1", "pack2.a2"] }, { refs: ["pack1.a1"] }])],
  ["its own and a pack", sessionWith([{ owner: "self" }, { pack_refs: ["pack0"] }])],
  [
    "its own in one pack, and another pack",
    sessionWith([{ owner: "self", pack_refs: ["pack1"] }, { pack_refs: ["pack2"] }]),
  ],
  [
    "a pack without one action, and another",
    sessionWith([{ pack_refs: ["pack1", "pack3"], except_refs: ["pack1.a1"] }]),
  ],
  ["all but one action", sessionWith([{ except_refs: ["pack1.a1"] }])],
  ["packs that do not exist", sessionWith([{ pack_refs: ["nowhere", "elsewhere"] }])],
];
const filters: [string, object, (row: Row) => boolean][] = [
  ["everything", {}, () => true],
  ["one status", { status: { eq: "FAILED" } }, ({ status }) => status === "FAILED"],
  ["two statuses", { status: { in: ["FAILED", "SCHEDULED", "FAILED"] } }, ({ status }) => status !== "REQUESTED"],
  ["packs", { pack: { in: ["pack0", "pack3", "none"] } }, ({ actionRef }) => /^pack[03]/.test(actionRef)],
  ["no action", { action: { in: [] } }, () => false],
  [
    "two statuses of two actions",
    { status: { in: ["FAILED", "REQUESTED"] }, action: { in: ["pack1.a1", "pack2.a2"] } },
    ({ status, actionRef }) => status !== "SCHEDULED" && ["pack1.a1", "pack2.a2"].includes(actionRef),
  ],
  [
    "two statuses or an action",
    { or: [{ status: { in: ["FAILED", "REQUESTED"] } }, { action: { eq: "pack1.a1" } }] },
    ({ status, actionRef }) => status !== "SCHEDULED" || actionRef === "pack1.a1",
  ],
];

/** Returns all pages of the list, joined. */
async function walk(session: Session, where: object, { back, direction }: { back: boolean; direction: string }) {
  const [size, cursor, more, end] = back
    ? ["last", "before", "hasPreviousPage", "startCursor"]
    : ["first", "after", "hasNextPage", "endCursor"];
  const document = `query ($where: ExecutionWhere, $cursor: String) {
    list: executions(${size}: 17, ${cursor}: $cursor, where: $where, orderBy: {field: CREATED, direction: ${direction}}) {
      totalCount { count precision } pageInfo { ${more} ${end} } nodes { id } } }`;
  const seen: string[] = [];
  for (let at: string | null = null, round = 0; round < 30; round += 1) {
    const { data, errors } = await api.ask(session, document, { where, cursor: at });
    expect(errors).toBeUndefined();
    const ids = data.list.nodes.map(({ id }: { id: string }) => atob(id).split(":")[1]);
    if (back) seen.unshift(...ids);
    else seen.push(...ids);
    at = data.list.pageInfo[end ?? ""];
    if (!data.list.pageInfo[more ?? ""]) return { seen, total: data.list.totalCount };
  }
  throw new Error("pages without end");
}

describe.each(readers)("a session that may read %s", (_reader, session) => {
  test.each(filters)("finds %s", async (_filter, where, passes) => {
    const expected = newestFirst.filter(
      (row) =>
        passes(row) &&
        may(session, "execution", "read", {
          ref: row.actionRef,
          packRef: row.actionRef.split(".")[0] ?? "",
          ownerId: BigInt(row.executor),
        }),
    );
    const ids = expected.map(({ id }) => id);
    for (const back of [false, true]) {
      for (const [direction, order] of [
        ["DESC", ids],
        ["ASC", ids.toReversed()],
      ] as const) {
        const { seen, total } = await walk(session, where, { back, direction });
        expect(seen).toEqual(order);
        expect(total).toEqual({ count: ids.length, precision: "EXACT" });
      }
    }
  });
});
