import { sql } from "drizzle-orm";
import { getNamedType, isListType, isNonNullType, isObjectType } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { factsOf, findNotices, type Notice } from "./matrix/facts.ts";
import { type RootField, rootFields } from "./matrix/fields.ts";
import { allows, holdsAny, type Role } from "./matrix/roles.ts";
import { type Answer, type Follower, roles as myRoles } from "./matrix/server.ts";
import { codes, createMatrix, globalId, localId, type Matrix } from "./matrix/setup.ts";

let matrix: Matrix;
/** The facts of each entry of the log, by its id; entries without facts are sent to no role. */
let notices: Map<string, Notice>;
const readNotices = async () => {
  const found = await findNotices(matrix.world.services.db, matrix.seeds.me, myRoles);
  notices = new Map(found.map((notice) => [notice.id, notice]));
};
beforeAll(async () => {
  matrix = await createMatrix();
  await readNotices();
});
afterAll(() => matrix[Symbol.asyncDispose]());

/** Whether the role is notified of the entry. */
function isNotified(role: Role, notice: Notice | undefined): boolean {
  return notice !== undefined && allows(role, notice.channel, "read", notice);
}

/** The same for the list: a user's own inquiries are sent as messages, and listed only as inquiries. */
const isListed = (role: Role, notice: Notice) => isNotified(role, { ...notice, always: false });

const isLive = ({ field }: RootField) => {
  const type = getNamedType(field.type);
  return isObjectType(type) && "cursor" in type.getFields() && field.args.every(({ type }) => !isNonNullType(type));
};
const polls = rootFields().filter((field) => field.root === "query" && isLive(field) && isListType(field.field.type));
const subscriptions = rootFields().filter((field) => field.root === "subscription" && isLive(field));
/** The id of the log entry that the message shows. */
const entryOf = (message: { cursor: string }) => message.cursor.split(".")[1] ?? "";

async function poll(role: Role, name: string): Promise<string[]> {
  const seen: string[] = [];
  for (let after: string | null = null; ; ) {
    const response: Answer = await matrix.server.ask(
      role,
      `query($after: Cursor) { ${name}(first: 100, after: $after) { cursor } }`,
      { after },
    );
    expect(response.errors, `${role.name}: ${name}`).toBeUndefined();
    const page: { cursor: string }[] = response.data[name];
    seen.push(...page.map(entryOf));
    after = page.at(-1)?.cursor ?? null;
    if (page.length < 100) return seen;
  }
}

describe("the log of changes", () => {
  test("is polled only for entries about readable rows", async () => {
    expect(polls.length).toBeGreaterThan(5);
    for (const { name } of polls) {
      const whole = await poll(matrix.admin, name);
      expect(whole.length, name).toBeGreaterThan(1);
      for (const role of matrix.roles) {
        const expected = whole.filter((id) => isNotified(role, notices.get(id)));
        expect(await poll(role, name), `${role.name}: ${name}`).toEqual(expected);
      }
    }
  });

  test("lists only entries about readable rows", async () => {
    for (const role of matrix.roles) {
      const response = await matrix.server.ask(
        role,
        "{ notifications(first: 100, orderBy: {field: CREATED, direction: ASC}) { totalCount { count } nodes { id channel } } }",
      );
      if (!holdsAny(role, "notification:read")) {
        expect(codes(response), role.name).toEqual(["FORBIDDEN"]);
        continue;
      }
      const { totalCount, nodes } = response.data.notifications;
      // A role that may read everything also finds entries that no other role is notified of.
      const all = role.name === "core.admin" ? null : [...notices.values()].filter((notice) => isListed(role, notice));
      if (all) expect(totalCount.count, role.name).toBe(all.length);
      else expect(totalCount.count, role.name).toBeGreaterThan(notices.size);
      const ids = all?.map(({ id }) => id);
      for (const node of nodes) if (ids) expect(ids, role.name).toContain(localId(node.id)[1]);
    }
  });

  test("finds an entry by id only if its row is readable", async () => {
    const samples = new Map([...notices.values()].map((notice) => [`${notice.channel} ${notice.pack}`, notice]));
    for (const role of matrix.roles) {
      for (const notice of samples.values()) {
        const id = globalId("Notification", notice.id);
        const { data } = await matrix.server.ask(role, "query($id: ID!) { node(id: $id) { id } }", { id });
        expect(data.node !== null, `${role.name}: ${notice.channel} ${notice.id}`).toBe(isListed(role, notice));
      }
    }
  });
});

describe("a subscription", () => {
  const messagesOf = (name: string, { seen }: Follower) =>
    seen.map((response) => {
      expect(response.errors, name).toBeUndefined();
      return entryOf(response.data[name]);
    });

  test("sends each role only the messages that it may read", async () => {
    const everyone = [matrix.admin, ...matrix.roles];
    const open = await Promise.all(
      subscriptions.flatMap(({ name }) =>
        everyone.map(async (role) => {
          const stream = await matrix.server.follow(role, `subscription { ${name} { cursor } }`);
          return { name, role, stream };
        }),
      ),
    );
    const tables = [
      "pack",
      "pack_test_execution",
      "rule",
      "policy",
      "worker",
      "event",
      "enforcement",
      "execution",
      "inquiry",
      "key",
      "artifact",
      "sensor",
      "token",
    ];
    const alone: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
      enforcement: { event: null },
      pack_test_execution: { execution: null },
    };
    const change = async (suffix: string) => {
      for (const table of tables) {
        for (const side of ["own", "others"] as const) {
          const instead = table === "pack" ? { ref: `${side === "own" ? "alpha" : "beta"}${suffix}` } : {};
          await matrix.seeds.another(table, side, alone[table] ?? instead);
        }
      }
      await matrix.world.services.wake.announce(["feed"]);
    };
    await change("-1");
    const admins = open.filter(({ role }) => role === matrix.admin);
    const enough = (count: number) =>
      until(
        () => admins.every(({ stream }) => stream.seen.length >= count),
        `${count} messages for the role that reads everything`,
      );
    await enough(2);
    await readNotices();
    const first = new Map(admins.map(({ name, stream }) => [name, messagesOf(name, stream)]));
    // Messages of the second batch have arrived, so any sent in error for the first have arrived too.
    await change("-2");
    await enough(4);
    await readNotices();
    for (const { name, role, stream } of open) {
      const whole = messagesOf(name, admins.find((each) => each.name === name)?.stream ?? stream);
      const expected = () => whole.filter((id) => isNotified(role, notices.get(id)));
      await until(
        () => stream.seen.length >= expected().length,
        `${expected().length} messages: ${role.name}, ${name}`,
      );
      expect(messagesOf(name, stream), `${role.name}: ${name}`).toEqual(expected());
      expect(first.get(name)?.length).toBeGreaterThan(1);
    }
    for (const { stream } of open) stream.stop();
  });
});

test.each([
  {
    of: "execution",
    type: "Execution",
    log: "executionLog",
    given: { status: "failed", finished_at: "2026-02-03T04:05:06.789Z" },
  },
  {
    of: "execution",
    type: "Execution",
    log: "packInstallProgress",
    given: { status: "failed", finished_at: "2026-02-03T04:05:06.789Z", action_ref: "core.install_pack" },
  },
  { of: "sensor", type: "Sensor", log: "sensorLog", given: {} },
] as const)(
  "$log of $of is sent to, and polled by, only the roles that may read it",
  async ({ of, type, log, given }) => {
    const { services } = matrix.world;
    const counts = { shown: 0, refused: 0 };
    const [field = "", text = ""] =
      log === "packInstallProgress"
        ? ["message", "::step check failed attempt 1 after 5 ms: logged\n"]
        : ["text", "logged"];
    for (const side of ["own", "others"] as const) {
      const id = await matrix.seeds.another(of, side, given);
      await services.db.execute(
        sql`insert into attune.${sql.raw(`${of}_log (${of}, seq`)}, stream, at, text) values (${id}::bigint, 1, 'system', now(), ${text})`,
      );
      const facts = (await factsOf(services.db, type, matrix.seeds.me, myRoles)).find((row) => row.id === id);
      for (const role of [matrix.admin, ...matrix.roles]) {
        const place = `${role.name}: the log of ${side}`;
        const stream = await matrix.server.follow(
          role,
          `subscription { ${log}(id: "${globalId(type, id)}") { ${field} } }`,
        );
        await until(() => stream.seen.length > 0, place);
        const [message] = stream.seen;
        const polled = await matrix.server.ask(role, `{ ${log}Messages(id: "${globalId(type, id)}") { ${field} } }`);
        if (facts && allows(role, of, "read", facts)) {
          expect(message, place).toEqual({ data: { [log]: { [field]: "logged" } } });
          expect(polled.data, place).toEqual({ [`${log}Messages`]: [{ [field]: "logged" }] });
          counts.shown += 1;
        } else {
          expect(message && codes(message), place).toEqual(["NOT_FOUND"]);
          expect(codes(polled), place).toEqual(["NOT_FOUND"]);
          expect(JSON.stringify(polled), place).not.toContain("logged");
          expect(JSON.stringify(stream.seen), place).not.toContain("logged");
          counts.refused += 1;
        }
        stream.stop();
      }
    }
    expect(counts.shown).toBeGreaterThan(2);
    expect(counts.refused).toBeGreaterThan(2);
  },
);
