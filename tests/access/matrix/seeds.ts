import type { Services } from "../../../src/db/services.ts";
import { write } from "../../../src/db/tx.ts";
import { readCatalog } from "../../db/model/catalog.ts";
import { createRows, type Rows } from "../../db/model/rows.ts";
import type { Row } from "../../db/model/sample.ts";

type Side = "own" | "others";

/** The owner of a row: no constrained grant covers the rows of both owners. */
interface Owner {
  pack: string;
  identity: string;
  login: string;
}

/** The values of a row of the table for its owner. `{n}` is replaced by a unique number. */
const rowsOf: Readonly<Record<string, (owners: Owner) => Row>> = {
  pack: ({ pack }) => ({ ref: pack, source_type: null }),
  runtime: ({ pack }) => ({ ref: `${pack}.action.runtime{n}`, pack_ref: pack }),
  sensor: ({ pack }) => ({ ref: `${pack}.sensor{n}`, pack_ref: pack }),
  trigger: ({ pack }) => ({ ref: `${pack}.trigger{n}`, pack_ref: pack }),
  workflow_definition: ({ pack }) => ({ ref: `${pack}.workflow{n}`, pack_ref: pack }),
  action: ({ pack }) => ({ ref: `${pack}.action{n}`, pack_ref: pack }),
  rule: ({ pack, identity }) => ({
    ref: `${pack}.rule{n}`,
    pack_ref: pack,
    owner: identity,
    trigger_ref: `${pack}.trigger`,
  }),
  policy: ({ pack }) => ({ ref: `${pack}.policy{n}` }),
  policy_group: () => ({}),
  permission_set: ({ pack }) => ({ ref: `${pack}.set{n}`, pack_ref: pack, grants: [] }),
  worker: ({ pack }) => ({ name: `${pack}{n}` }),
  event: ({ pack }) => ({ trigger_ref: `${pack}.trigger`, cause_execution: null }),
  rule_revision: ({ identity }) => ({ owner: identity }),
  rule_evaluation: () => ({ held: null, pending: false, key_hash: null }),
  rule_window: () => ({}),
  enforcement: ({ pack }) => ({ rule_ref: `${pack}.rule` }),
  execution: ({ pack, identity }) => ({ action_ref: `${pack}.action`, executor: identity, root: null, retry_count: 1 }),
  policy_slot: () => ({}),
  pack_test_execution: () => ({}),
  inquiry: ({ identity }) => ({ assigned_to: identity, assigned_role: null, status: "pending", responded_at: null }),
  token: ({ identity }) => ({ identity, execution: null, sensor: null, revoked_at: null, expires_at: null }),
  key: ({ identity }) => ({
    owner_type: "identity",
    owner_identity: identity,
    owner_pack: null,
    owner_action: null,
    owner_sensor: null,
    name: "key{n}",
  }),
  artifact: ({ login }) => ({ scope: "identity", owner: login, visibility: "private", ref: `${login}{n}` }),
  artifact_version: () => ({}),
  audit_event: ({ identity }) => ({ actor: identity }),
};

/** Values that make a row readable without a grant, for all or for holders of a role. */
const readableByAll: Readonly<Record<string, Row>> = {
  artifact: { visibility: "public" },
  inquiry: { assigned_to: null, assigned_role: "on_call" },
};

/** Tables that have at most one row for each execution. */
const alone: ReadonlySet<string> = new Set(["policy_slot", "pack_test_execution"]);

export interface Seeds {
  me: string;
  /** The ids of the rows, by table. */
  own: ReadonlyMap<string, string>;
  others: ReadonlyMap<string, string>;
  /** Creates one more row of the table and returns its id. */
  another(table: string, side: Side, instead?: Row): Promise<string>;
}

/** Stores rows of every table: the caller's refer to the caller's or, in a second row, to others'; others' refer to the caller's. */
export async function sow(services: Services): Promise<Seeds> {
  const creator: Rows = await createRows(services, await readCatalog(services.db));
  const catalog = await readCatalog(services.db);
  const ids = { own: new Map<string, string>(), others: new Map<string, string>() };
  const owners = await write(services, async ({ db }) => {
    const [me, someone] = [
      await creator.insert(db, "identity", { with: { login: "me", frozen: false } }),
      await creator.insert(db, "identity", { with: { login: "somebody", frozen: false } }),
    ];
    ids.own.set("identity", me);
    ids.others.set("identity", someone);
    return {
      own: { pack: "alpha", identity: me, login: "me" },
      others: { pack: "beta", identity: someone, login: "somebody" },
    };
  });
  /** The row's values, with references to the rows of the side `to` where they exist. */
  const row = (table: string, side: Side, to: Side): Row => {
    const references = catalog.foreignKeys
      .filter((key) => key.table === table && ids[to].has(key.parent))
      .map((key) => [key.column, ids[to].get(key.parent)]);
    return { ...Object.fromEntries(references), ...rowsOf[table]?.(owners[side]) };
  };
  await write(services, async ({ db }) => {
    for (const table of Object.keys(rowsOf)) {
      const owned = await creator.insert(db, table, { with: row(table, "own", "own") });
      ids.own.set(table, owned);
      // A rule and an event have at most one enforcement, an execution has one place.
      const none: Row = table === "enforcement" ? { event: null } : {};
      const to = alone.has(table) ? "others" : "own";
      ids.others.set(table, await creator.insert(db, table, { with: { ...row(table, "others", to), ...none } }));
    }
    for (const table of Object.keys(rowsOf)) {
      if (table === "pack" || alone.has(table)) continue;
      await creator.insert(db, table, { with: { ...row(table, "own", "others"), ...readableByAll[table] } });
    }
    await creator.insert(db, "enforcement", { with: { ...row("enforcement", "others", "own"), rule: null } });
  });
  return {
    me: owners.own.identity,
    ...ids,
    another: (table, side, instead = {}) =>
      write(services, ({ db }) =>
        creator.insert(db, table, { of: "minimal", with: { ...row(table, side, side), ...instead } }),
      ),
  };
}
