import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTrigger } from "../../src/catalog/trigger.ts";
import type { Tx } from "../../src/db/tx.ts";
import { performMutation } from "../../src/graphql/kit/perform.ts";
import { schema } from "../../src/graphql/schema.ts";
import { createRule } from "../../src/rule/rule.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

/** Performs a mutation that runs two verbs in one transaction. */
async function both(requestId: string, { rule, idempotencyKey }: { rule: string; idempotencyKey: string }) {
  const { services, session } = world;
  const verbs = async (tx: Tx) => {
    const trigger = `${rule}_trigger`;
    await createTrigger(tx, session, { ref: trigger });
    return await createRule(tx, session, { ref: rule, trigger, action: "core.noop" });
  };
  const call = { operation: "createRule", input: { ref: rule, idempotencyKey }, secretFields: [] };
  return await performMutation<{ id: bigint }>({ services, ip: null, requestId }, session, call, (_input, commit) =>
    commit(verbs),
  );
}

const audit = (requestId: string) =>
  world.all<{ outcome: string; category: string }>(
    sql`select outcome, category from attune.audit_event where request_id = ${requestId} order by id`,
  );
const stored = async (rule: string, idempotencyKey: string) => ({
  triggers: (await world.all(sql`select from attune.trigger where ref = ${`${rule}_trigger`}`)).length,
  rules: (await world.all(sql`select from attune.rule where ref = ${rule}`)).length,
  keys: (await world.all(sql`select from attune.idempotency_key where key = ${idempotencyKey}`)).length,
});

describe("two verbs in one transaction", () => {
  test("are both rolled back when the second is refused, with the success entry and the idempotency key", async () => {
    const taken = { rule: "default.taken", idempotencyKey: "taken" };
    await both("first", taken);
    await world.all(sql`delete from attune.trigger where ref = 'default.taken_trigger'`);
    // The trigger can be created again, the rule cannot.
    await expect(both("again", { ...taken, idempotencyKey: "first" })).rejects.toMatchObject({ code: "CONFLICT" });
    expect(await stored("default.taken", "first")).toEqual({ triggers: 0, rules: 1, keys: 0 });
    expect(await audit("again")).toEqual([{ outcome: "failure", category: "mutation" }]);
  });

  test("commit together with one entry and the idempotency key, whose replay creates nothing", async () => {
    const given = { rule: "default.both", idempotencyKey: "both" };
    const created = await both("created", given);
    expect(await stored("default.both", "both")).toEqual({ triggers: 1, rules: 1, keys: 1 });
    expect(await audit("created")).toEqual([{ outcome: "success", category: "mutation" }]);
    expect(await both("replayed", given)).toEqual({ id: created.id });
    expect(await stored("default.both", "both")).toEqual({ triggers: 1, rules: 1, keys: 1 });
  });
});

test("every mutation is performed in one place and names the permission that it needs", () => {
  const fields = Object.values(schema.getMutationType()?.getFields() ?? {});
  expect(fields.length).toBeGreaterThan(70);
  expect(fields.filter(({ extensions }) => !("may" in extensions)).map(({ name }) => name)).toEqual(["signIn"]);
});
