import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Channel, channels, groundsOf, type NotificationEntry } from "../../src/db/channels.ts";
import { type Db, rows } from "../../src/db/client.ts";
import { createServices, type TestServices } from "../support/database.ts";
import { readCatalog } from "./model/catalog.ts";
import { createRows, type Rows, tableOf, undone } from "./model/rows.ts";

let services: TestServices;
let creator: Rows;
beforeAll(async () => {
  services = await createServices();
  creator = await createRows(services, await readCatalog(services.db));
});
afterAll(() => services[Symbol.asyncDispose]());

type Operation = "insert" | "update" | "delete";

/** A change that triggers log, and how many of their functions do. */
interface Kind {
  table: string;
  operation: Operation;
  writers: number;
}

/** Every kind of change that is logged, by the triggers in the database's catalog. */
const readKinds = () =>
  rows<Kind>(
    services.db,
    sql`select t.relname as "table", o.name as "operation", count(distinct p.oid)::int as "writers"
      from pg_trigger g join pg_class t on t.oid = g.tgrelid and t.relnamespace = 'attune'::regnamespace
      join pg_proc p on p.oid = g.tgfoid
      join (values ('insert', 4), ('delete', 8), ('update', 16)) as o(name, bit) on g.tgtype & o.bit <> 0
      where p.prosrc ~* 'insert into (attune\\.)?notification\\y' group by 1, 2 order by 1, 2`,
  );

/** What an update must change for the table's triggers to log it; other tables log any update. */
const changes: Readonly<Record<string, string>> = {
  event: "payload = '{}'",
  enforcement: "status = 'disabled'",
  execution: "status = 'scheduling'",
  identity: "frozen = not frozen",
  inquiry: "status = 'cancelled', responded_at = null",
  pack_environment: "install_log = 'more'",
  permission_set: "ref = 'sample.renamed'",
  rule_budget: "tripped_at = now(), resets_at = now()",
  sensor_process: "pid = 1",
  token: "expires_at = now() + interval '1 hour'",
  worker: "cordoned = not cordoned, drains_at = null",
};

/** The entity that a change of a table without a channel changes. */
const membersOf: Readonly<Record<string, string>> = {
  identity_role: "identity",
  pack_environment: "pack",
  pack_test_execution: "pack",
  permission_assignment: "identity",
  permission_set_role: "permission_set",
  rule_budget: "rule",
  sensor_process: "sensor",
};

/** Returns the entries that the change of a full or a minimal row logs. */
const provoke = (of: "minimal" | "full", { table, operation }: Kind): Promise<NotificationEntry[]> =>
  undone(services, async (db) => {
    // An inquiry's entry names the executor of the execution that created it.
    const owner = table === "inquiry" && of === "full" ? { execution: await creator.insert(db, "execution") } : {};
    const none = table === "worker" && of === "minimal" ? { status: null } : {}; // it has a default
    const before = operation === "insert" ? await newest(db) : null;
    const id = await creator.insert(db, table, { of, with: { ...owner, ...none } });
    const from = before ?? (await newest(db));
    const row = sql`where id = ${id}::bigint`;
    if (operation === "update") {
      await db.execute(sql`update ${tableOf(table)} set ${sql.raw(changes[table] ?? "created = created")} ${row}`);
    }
    if (operation === "delete") await db.execute(sql`delete from ${tableOf(table)} ${row}`);
    return await rows<NotificationEntry>(
      db,
      sql`select channel, entity_type as "entityType", activity, content, pack_ref as "packRef"
        from attune.notification where id > ${from}::bigint order by id`,
    );
  });

async function newest(db: Db): Promise<string> {
  const [last] = await rows<{ id: string }>(db, sql`select coalesce(max(id), 0)::text as id from attune.notification`);
  return last?.id ?? "0";
}

const isChannel = (name: string): name is Channel => name in channels;

describe("the notification log", () => {
  test("contains what its channels' contract specifies, for every kind of change", async () => {
    const kinds = await readKinds();
    expect(kinds.length).toBeGreaterThan(30);
    const activities = new Set<string>();
    const seen = { value: new Set<string>(), null: new Set<string>() };
    for (const kind of kinds) {
      const place = `${kind.operation} ${kind.table}`;
      const entries = [...(await provoke("minimal", kind)), ...(await provoke("full", kind))];
      const about = [kind.table, membersOf[kind.table]];
      const written = entries.filter(({ entityType }) => about.includes(entityType));
      expect(new Set(written.map(({ channel }) => channel)).size, `channels of ${place}`).toBe(kind.writers);
      for (const entry of entries) {
        if (!isChannel(entry.channel)) throw new Error(`${place} writes the channel ${entry.channel}`);
        const { content, pack } = channels[entry.channel];
        expect(content ? content.parse(entry.content) : null, place).toEqual(entry.content);
        if (!pack) expect(entry.packRef, place).toBeNull();
        if (entry.channel !== "access") expect(entry.entityType, place).toBe(entry.channel);
        activities.add(`${entry.channel} ${entry.activity}`);
        for (const [name, value] of Object.entries({ ...entry.content, "the pack": entry.packRef })) {
          seen[value === null ? "null" : "value"].add(`${entry.channel} ${name}`);
        }
      }
    }
    const contracts = Object.entries(channels);
    expect([...activities].sort()).toEqual(
      contracts.flatMap(([name, contract]) => contract.activities.map((activity) => `${name} ${activity}`)).sort(),
    );
    // The contract is no wider than that: each field had a value, and null where it allows null.
    for (const [name, { content, pack }] of contracts) {
      if (pack) expect(seen.value).toContain(`${name} the pack`);
      for (const [field, schema] of Object.entries(content?.shape ?? {})) {
        expect(seen.value).toContain(`${name} ${field}`);
        expect(seen.null.has(`${name} ${field}`), `null in ${name} ${field}`).toBe(schema.safeParse(null).success);
      }
    }
  });

  test("gives grants the row's own ref, pack and owner to compare", async () => {
    const columns: Readonly<Record<string, readonly [ref: string, pack: string, owner: string]>> = {
      execution: ["action_ref", "split_part(action_ref, '.', 1)", "executor"],
      event: ["trigger_ref", "split_part(trigger_ref, '.', 1)", "null"],
      enforcement: ["rule_ref", "split_part(rule_ref, '.', 1)", "null"],
      inquiry: [
        "(select e.action_ref from attune.execution e where e.id = execution)",
        "(select split_part(e.action_ref, '.', 1) from attune.execution e where e.id = execution)",
        "assigned_to",
      ],
      worker: ["name", "null", "null"],
      rule: ["ref", "pack_ref", "null"],
      action: ["ref", "pack_ref", "null"],
      trigger: ["ref", "pack_ref", "null"],
      sensor: ["ref", "pack_ref", "null"],
      policy: ["ref", "(select p.ref from attune.pack p where p.id = pack)", "null"],
      runtime: ["ref", "pack_ref", "null"],
      workflow_definition: ["ref", "pack_ref", "null"],
      permission_set: ["ref", "pack_ref", "null"],
      identity: ["login", "null", "null"],
      pack: ["ref", "ref", "null"],
      key: ["ref", "null", "null"],
      artifact: ["ref", "null", "null"],
      token: ["null", "null", "null"],
    };
    for (const [channel, { content }] of Object.entries(channels)) {
      if (!content) continue;
      const [ref, pack, owner] = columns[channel] ?? ["", "", ""];
      const { row, grounds } = await undone(services, async (db) => {
        const id = await creator.insert(db, channel, { of: "full" });
        const [row] = await rows<{ ref: string | null; pack: string | null; owner: string | null }>(
          db,
          sql.raw(
            `select ${ref} as ref, ${pack} as pack, (${owner})::text as owner from attune.${channel} where id = ${id}`,
          ),
        );
        const [entry] = await rows<NotificationEntry>(
          db,
          sql`select channel, content, pack_ref as "packRef" from attune.notification where entity_type = ${channel}
            and channel = ${channel} and entity = ${id}::bigint`,
        );
        return { row, grounds: entry ? groundsOf(entry) : null };
      });
      const ownerId = row?.owner ? BigInt(row.owner) : null;
      expect(grounds, channel).toEqual({ channel, ref: row?.ref, packRef: row?.pack, ownerId });
    }
  });

  test("shows no entry without content, or of a channel of a later version", () => {
    const entry = { entityType: "x", activity: "created", packRef: "core" } as const;
    expect(groundsOf({ ...entry, channel: "access", content: null })).toBeNull();
    expect(
      groundsOf({ ...entry, channel: "later", content: { ref: "core.x" } } as unknown as NotificationEntry),
    ).toBeNull();
  });
});
