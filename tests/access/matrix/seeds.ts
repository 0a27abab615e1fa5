import type { Services } from "../../../src/db/services.ts";
import { write } from "../../../src/db/tx.ts";
import { readCatalog } from "../../db/model/catalog.ts";
import { createRows, type Rows } from "../../db/model/rows.ts";
import type { Row } from "../../db/model/sample.ts";

type Side = "own" | "others";

/** Whose a row is: what is said of it, so that a grant for the one is none for the other. */
interface Whose {
  pack: string;
  identity: string;
  login: string;
}

/** Makes a row of the table: one that is one's own, or another's. `{n}` is a number of the row's own. */
const rowsOf: Readonly<Record<string, (whose: Whose) => Row>> = {
  pack: ({ pack }) => ({ ref: pack, source_type: null }),
  runtime: ({ pack }) => ({ ref: `${pack}.action.runtime{n}`, pack_ref: pack }),
  sensor: ({ pack }) => ({ ref: `${pack}.sensor{n}`, pack_ref: pack }),
  trigger: ({ pack }) => ({ ref: `${pack}.trigger{n}`, pack_ref: pack }),
  workflow_definition: ({ pack }) => ({ ref: `${pack}.workflow{n}`, pack_ref: pack }),
  action: ({ pack }) => ({ ref: `${pack}.action{n}`, pack_ref: pack }),
  rule: ({ pack, identity }) => ({ ref: `${pack}.rule{n}`, pack_ref: pack, owner: identity }),
  policy: ({ pack }) => ({ ref: `${pack}.policy{n}` }),
  permission_set: ({ pack }) => ({ ref: `${pack}.set{n}`, pack_ref: pack, grants: [] }),
  worker: ({ pack }) => ({ name: `${pack}{n}` }),
  event: ({ pack }) => ({ trigger_ref: `${pack}.trigger`, cause_execution: null }),
  rule_evaluation: () => ({}),
  enforcement: ({ pack }) => ({ rule_ref: `${pack}.rule` }),
  execution: ({ pack, identity }) => ({ action_ref: `${pack}.action`, executor: identity, root: null, retry_count: 1 }),
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

/** What makes a row one that is read without a grant, by everybody or by who has a role. */
const readableByAll: Readonly<Record<string, Row>> = {
  artifact: { visibility: "public" },
  inquiry: { assigned_to: null, assigned_role: "on_call" },
};

export interface Seeds {
  me: string;
  /** The ids of the rows made, by table. */
  own: ReadonlyMap<string, string>;
  others: ReadonlyMap<string, string>;
  /** One more row of the table, on its own. */
  another(table: string, side: Side, instead?: Row): Promise<string>;
}

/** Stores rows of every table: one's own refer to one's own and, in a second one, to others'; and others' to one's own. */
export async function sow(services: Services): Promise<Seeds> {
  const make: Rows = await createRows(services, await readCatalog(services.db));
  const catalog = await readCatalog(services.db);
  const ids = { own: new Map<string, string>(), others: new Map<string, string>() };
  const whose = await write(services, async ({ db }) => {
    const [me, someone] = [
      await make.insert(db, "identity", { with: { login: "me", frozen: false } }),
      await make.insert(db, "identity", { with: { login: "somebody", frozen: false } }),
    ];
    ids.own.set("identity", me);
    ids.others.set("identity", someone);
    return {
      own: { pack: "alpha", identity: me, login: "me" },
      others: { pack: "beta", identity: someone, login: "somebody" },
    };
  });
  /** The row, with references to that side's rows where there are any. */
  const row = (table: string, side: Side, to: Side): Row => {
    const references = catalog.foreignKeys
      .filter((key) => key.table === table && ids[to].has(key.parent))
      .map((key) => [key.column, ids[to].get(key.parent)]);
    return { ...Object.fromEntries(references), ...rowsOf[table]?.(whose[side]) };
  };
  await write(services, async ({ db }) => {
    for (const table of Object.keys(rowsOf)) {
      const owned = await make.insert(db, table, { with: row(table, "own", "own") });
      ids.own.set(table, owned);
      // Of a rule and an event there is one enforcement at most.
      const alone: Row = table === "enforcement" ? { event: null } : {};
      ids.others.set(table, await make.insert(db, table, { with: { ...row(table, "others", "own"), ...alone } }));
    }
    for (const table of Object.keys(rowsOf)) {
      if (table === "pack") continue;
      await make.insert(db, table, { with: { ...row(table, "own", "others"), ...readableByAll[table] } });
    }
    await make.insert(db, "enforcement", { with: { ...row("enforcement", "others", "own"), rule: null } });
  });
  return {
    me: whose.own.identity,
    ...ids,
    another: (table, side, instead = {}) =>
      write(services, ({ db }) =>
        make.insert(db, table, { of: "minimal", with: { ...row(table, side, side), ...instead } }),
      ),
  };
}
