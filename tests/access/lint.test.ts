import { afterAll, beforeAll, expect, test } from "vitest";
import type { Grant } from "../../src/access/grants.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { is } from "../support/evaluator.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
let trigger: string;
let rule: string;
let people = 0;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
  trigger = await world.trigger({ outSchema: { hidden: { type: "string" } } });
  rule = await world.rule(trigger, {
    conditions: is("hiden", "a"),
    action: "core.echo",
    actionParams: { message: "{{ pack.config }} {{ event.payload.hidden }}" },
  });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const grant = (resource: Grant["resource"], action = "read", refs?: string[]): Grant => ({
  ...{ resource, actions: [action] },
  ...(refs ? { constraints: { refs } } : {}),
});

/** Returns the code of the refusal, or the data. */
async function ask(grants: Grant[], query: string, variables: object = {}) {
  people += 1;
  const person = await createPerson(world.services, `person_${people}`, { grants });
  const { data, errors } = await api.ask(person, query, variables);
  return errors ? errors[0]?.extensions["code"] : data;
}

/** Asks with all grants, then without each: every one is required. */
async function requireEach(grants: Grant[], query: string, variables: object) {
  const complete = await ask(grants, query, variables);
  expect(complete).toBeTypeOf("object");
  for (const [index, missing] of grants.entries()) {
    const others = grants.filter((_, at) => at !== index);
    expect(["NOT_FOUND", "FORBIDDEN"], `without ${missing.resource}`).toContain(await ask(others, query, variables));
    // A grant for other refs is none for these.
    const elsewhere = [...others, { ...missing, constraints: { refs: ["default.other"] } }];
    expect(await ask(elsewhere, query, variables), `${missing.resource} elsewhere`).toMatch(/^(NOT_FOUND|FORBIDDEN)$/);
  }
  return complete;
}

test("findings compare a rule only with what their reader may read", async () => {
  const query = `query ($rule: String!) { lintRule(rule: $rule) { message } ruleByRef(ref: $rule) { warnings { message } } }`;
  const all = [grant("rule"), grant("trigger")];
  const found = await ask(all, query, { rule });
  const finding = { message: 'the trigger\'s schema has no "hiden" in the payload' };
  expect(found).toEqual({ lintRule: [finding], ruleByRef: { warnings: [finding] } });
  expect(await ask([grant("rule")], query, { rule })).toEqual({ lintRule: [], ruleByRef: { warnings: [] } });
  expect(
    await ask([grant("trigger")], `query ($rule: String!) { lintRule(rule: $rule) { message } }`, { rule }),
  ).toMatch(/NOT_FOUND|FORBIDDEN/);
  const drafts = `query ($draft: RuleDraftInput!) { lintRule(draft: $draft) { message } }`;
  const draft = { trigger, action: "core.noop", conditions: [{ field: "hiden", operator: "EXISTS" }] };
  const { lintRule } = await requireEach([grant("trigger"), grant("action")], drafts, { draft });
  expect(lintRule).toEqual([finding]);
});
