import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { deleteAction } from "../../src/catalog/action.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import type { RuleFields } from "../../src/rule/definition.ts";
import { deleteRule, setRuleEnabled, updateRule } from "../../src/rule/rule.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

interface Revision {
  number: number;
  definition: JsonObject;
  changes: { field: string; before: unknown; after: unknown }[] | null;
  owner: { login: string } | null;
}

const update = (ref: string, patch: RuleFields, session = world.session) =>
  commit(world.services, updateRule, session, { ref, patch });

const history = async (ref: string, since: number | null = null, session = world.session): Promise<Revision[]> => {
  const document = `query ($ref: String!, $since: Int) { ruleByRef(ref: $ref) {
    revisions(first: 50) { nodes { number at definition owner { login } changes(since: $since) { field before after } } } } }`;
  const { data } = await api.ask(session, document, { ref, since });
  return data?.ruleByRef?.revisions.nodes ?? [];
};
const numbers = async (ref: string) => (await history(ref)).map(({ number }) => number);

const restore = async (ref: string, revision: number, session = world.session) => {
  const { data, errors } = await api.ask(
    session,
    `mutation ($input: RestoreRuleInput!) { restoreRule(input: $input) { __typename
      ... on RestoreRulePayload { rule { revision label condition conditions actionParams enabled owner { login } } }
      ... on Error { message } } }`,
    { input: { ref, revision } },
  );
  return data?.restoreRule ?? { __typename: String(errors?.[0]?.extensions["code"]), message: errors?.[0]?.message };
};

const high = [{ field: "level", operator: "gt", value: 5 }];
const highAsInput = [{ field: "level", operator: "GT", value: 5 }];

test("each change is kept, newest first, with what differs from the one before or from any other", async () => {
  const rule = await world.rule(await world.trigger(), { action: "core.echo", actionParams: { message: "one" } });
  await update(rule, { label: "Loud", actionParams: { message: "two" } });
  await update(rule, { conditions: high, condition: "any" });
  await commit(world.services, setRuleEnabled, world.session, { ref: rule, enabled: false });
  const changes = (await history(rule)).map((each) => [each.number, each.changes]);
  expect(changes).toEqual([
    [4, [{ field: "enabled", before: true, after: false }]],
    [
      3,
      [
        { field: "condition", before: "all", after: "any" },
        { field: "conditions", before: [], after: high },
      ],
    ],
    [
      2,
      [
        { field: "actionParams", before: { message: "one" }, after: { message: "two" } },
        { field: "label", before: rule, after: "Loud" },
      ],
    ],
    [1, null],
  ]);
  const [newest] = await history(rule, 2);
  expect(newest?.changes?.map(({ field }) => field)).toEqual(["condition", "conditions", "enabled"]);
  expect((await history(rule, 99)).map((each) => each.changes)).toEqual([null, null, null, null]);
  expect(newest?.definition).toEqual({
    ...{ label: "Loud", description: null, actionRef: "core.echo", condition: "any", conditions: high },
    ...{ actionParams: { message: "two" }, triggerParams: {}, enabled: false, recordEvaluations: "near" },
    ...{ window: null, maxStarts: null, backstop: false, activeHours: null, executionPriority: 0 },
    triggerRef: expect.stringMatching(/^default\./),
  });
  const page = await api.ask(
    world.session,
    `query ($ref: String!) { ruleByRef(ref: $ref) { revision revisions(first: 1, where: { number: { lt: 3 } }) { totalCount { count } nodes { number } } } }`,
    { ref: rule },
  );
  expect(page.data.ruleByRef).toEqual({ revision: 4, revisions: { totalCount: { count: 2 }, nodes: [{ number: 2 }] } });
});

test("what changes nothing, or only the row that a ref names, makes no revision", async () => {
  const action = await world.action();
  const rule = await world.rule(await world.trigger(), { action });
  await update(rule, { action, label: rule });
  await commit(world.services, setRuleEnabled, world.session, { ref: rule, enabled: true });
  await commit(world.services, deleteAction, world.session, { ref: action });
  expect(await numbers(rule)).toEqual([1]);
});

test("a new owner is a revision, and so is a change in SQL", async () => {
  const person = await createPerson(world.services, "second", { grants: [{ resource: "*", actions: ["*"] }] });
  const rule = await world.rule(await world.trigger());
  await update(rule, { label: rule }, person);
  await world.all(sql`update attune.rule set description = 'by hand' where ref = ${rule}`);
  expect((await history(rule)).map(({ number, owner, changes }) => [number, owner?.login, changes?.length])).toEqual([
    [3, "second", 1],
    [2, "second", 0],
    [1, "admin", undefined],
  ]);
});

test("changes at once get numbers of their own, and each is kept", async () => {
  const rule = await world.rule(await world.trigger());
  const labels = Array.from({ length: 8 }, (_, n) => `label ${n}`);
  await Promise.all(labels.map((label) => update(rule, { label })));
  const kept = await history(rule);
  expect(kept.map(({ number }) => number)).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1]);
  expect(new Set(kept.map(({ definition }) => definition["label"]))).toEqual(new Set([rule, ...labels]));
});

test("of each rule the newest 1,000 are kept, and all go with it", async () => {
  const rule = await world.rule(await world.trigger());
  const { id } = await world.one<{ id: string }>(sql`select id::text from attune.rule where ref = ${rule}`);
  const read = () => world.all(sql`select number from attune.rule_revision where rule = ${id}::bigint order by number`);
  for (const label of ["two", "three", "four"]) await update(rule, { label });
  // As if it had been changed so often.
  await world.all(sql`update attune.rule set revision = 1001 where id = ${id}::bigint`);
  expect(await read()).toEqual([2, 3, 4, 1001].map((number) => ({ number })));
  await update(rule, { label: "five" });
  expect(await read()).toEqual([3, 4, 1001, 1002].map((number) => ({ number })));
  expect(await restore(rule, 2)).toMatchObject({ __typename: "ConflictError" });
  await commit(world.services, deleteRule, world.session, { ref: rule });
  expect(await read()).toEqual([]);
});

test("a revision is restored as a new one, enabled or disabled as the rule is", async () => {
  const rule = await world.rule(await world.trigger(), {
    ...{ action: "core.echo", actionParams: { message: "{{ event.payload.level }}" }, conditions: high },
    ...{ description: "first", recordEvaluations: "all" },
  });
  const other = await world.trigger();
  await update(rule, {
    ...{ trigger: other, action: "core.noop", actionParams: {}, conditions: [], condition: "any" },
    ...{ label: "Other", description: null, recordEvaluations: "none", enabled: false },
  });
  expect(await restore(rule, 1)).toEqual({
    __typename: "RestoreRulePayload",
    rule: {
      ...{
        revision: 3,
        label: rule,
        condition: "ALL",
        conditions: highAsInput,
        enabled: false,
        owner: { login: "admin" },
      },
      actionParams: { message: "{{ event.payload.level }}" },
    },
  });
  const [now, , first] = await history(rule);
  expect({ ...now?.definition, enabled: true }).toEqual(first?.definition);
  // What is so already is not changed.
  expect(await restore(rule, 3)).toMatchObject({ rule: { revision: 3 } });
  expect(await restore(rule, 7)).toEqual({
    __typename: "ConflictError",
    message: `The rule "${rule}" has no revision 7: its newest is 3, and old ones go.`,
  });
});

test("restoring is checked as an update: the action, the trigger, what they take, and the files of a pack", async () => {
  const [action, trigger] = [await world.action(), await world.trigger()];
  const rule = await world.rule(trigger, { action, actionParams: { host: "db1" } });
  await update(rule, { action: "core.noop", actionParams: {} });
  const narrow = await createPerson(world.services, "narrow", {
    grants: [
      { resource: "rule", actions: ["read", "update"] },
      { resource: "trigger", actions: ["read"] },
      { resource: "action", actions: ["execute", "read"], constraints: { refs: ["core.noop"] } },
    ],
  });
  const reader = await createPerson(world.services, "reader", { grants: [{ resource: "rule", actions: ["read"] }] });
  expect(await history(rule, null, reader)).toHaveLength(2);
  expect(await restore(rule, 1, reader)).toMatchObject({ __typename: expect.stringMatching(/forbidden/i) });
  expect(await restore(rule, 1, narrow)).toMatchObject({ __typename: expect.stringMatching(/forbidden|not_?found/i) });
  expect(await restore(rule, 2, narrow)).toMatchObject({ rule: { owner: { login: "narrow" } } });
  const before = await numbers(rule);
  await world.all(sql`update attune.action set param_schema = '{"port": {"type": "integer"}}' where ref = ${action}`);
  expect(await restore(rule, 1)).toMatchObject({
    __typename: "InvalidInputError",
    message: expect.stringContaining("actionParams.host"),
  });
  await world.all(sql`update attune.rule set is_adhoc = false, owner = null where ref = ${rule}`);
  expect(await restore(rule, 2)).toMatchObject({ __typename: "ConflictError" });
  expect((await numbers(rule)).length).toBe(before.length + 1);
});

test("revisions are readable with their rule", async () => {
  const rule = await world.rule(await world.trigger());
  const stranger = await createPerson(world.services, "stranger", {
    grants: [{ resource: "rule", actions: ["read"], constraints: { pack_refs: ["core"] } }],
  });
  expect(await numbers(rule)).toEqual([1]);
  expect(await history(rule, null, stranger)).toEqual([]);
});

test("enforcements and evaluations have the revision that decided, whatever was changed", async () => {
  const trigger = await world.trigger();
  const rule = await world.rule(trigger, { conditions: high, recordEvaluations: "all" });
  const executor = world.startExecutor();
  const used = async () => {
    const event = await world.event(trigger, { level: 7 });
    const read = sql`select (select rule_revision from attune.enforcement where event = e.id) as enforcement,
      (select rule_revision from attune.rule_evaluation where event = e.id) as evaluation
      from attune.event e where e.id = ${event}::bigint and e.evaluated_at is not null`;
    return await until(async () => (await world.all(read))[0], "the evaluation of the event");
  };
  expect(await used()).toEqual({ enforcement: 1, evaluation: 1 });
  // A label decides nothing, but its change has a number too.
  await update(rule, { label: "Other" });
  expect(await used()).toEqual({ enforcement: 2, evaluation: 2 });
  await update(rule, { conditions: [] });
  expect(await used()).toEqual({ enforcement: 3, evaluation: 3 });
  await restore(rule, 1);
  expect(await used()).toEqual({ enforcement: 4, evaluation: 4 });
  await executor.stop();
});
