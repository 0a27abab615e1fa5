import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Session } from "../../src/access/session.ts";
import { createAction } from "../../src/catalog/action.ts";
import { type Api, createApi } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

const secret = "correct horse";
let world: World;
let api: Api;
/** The session of a running execution that was given the secret. */
let token: Session;

beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
  await commit(world.services, createAction, world.session, {
    ref: "default.given",
    entrypoint: "core.noop",
    runtime: "core.action.builtin",
    paramSchema: { password: { type: "string", secret: true } },
  });
  const { data } = await api.ask(world.session, run, { action: "default.given", parameters: { password: secret } });
  const id = atob(data.executeAction.execution.id).split(":")[1] ?? "";
  await world.all(
    sql`with w as (insert into attune.worker (name, worker_type) values ('w', 'local') returning id)
      update attune.execution e set status = 'running', worker = w.id, started_at = now() from w where e.id = ${id}::bigint`,
  );
  token = { ...world.session, kind: "execution", executionId: BigInt(id) };
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const run = `mutation ($action: String!, $parameters: JSONObject) { executeAction(input: {action: $action, parameters: $parameters}) {
  ... on ExecuteActionPayload { execution { id parameters } } ... on Error { message } } }`;
const label = `mutation ($ref: String!, $label: String) { createTrigger(input: {ref: $ref, label: $label, paramSchema: {a: {type: "string", default: $label}}}) {
  ... on CreateTriggerPayload { trigger { label paramSchema } } ... on Error { message } } }`;

test("an execution's secrets are masked in what it stores with its token; a person's input is stored unchanged", async () => {
  const text = `it is ${secret}`;
  const stored = async (session: Session, ref: string) =>
    (await api.ask(session, label, { ref, label: text })).data.createTrigger.trigger;
  expect(await stored(token, "default.by_execution")).toEqual({
    label: "it is [secret:password]",
    paramSchema: { a: { type: "string", default: "it is [secret:password]" } },
  });
  expect(await stored(world.session, "default.by_person")).toMatchObject({ label: text });
});

test("fields for secrets receive them unmasked: a key's value, and the parameters of a child", async () => {
  const { data } = await api.ask(
    token,
    `mutation ($value: String!) { setKey(input: {owner: {system: true}, name: "handed", value: $value}) {
      ... on SetKeyPayload { key { ref } } ... on Error { message } } }`,
    { value: secret },
  );
  expect(data.setKey).toEqual({ key: { ref: "system.handed" } });
  const revealed = await api.ask(
    world.session,
    `mutation { revealKey(input: {ref: "system.handed"}) { ... on RevealKeyPayload { revealed { value } } } }`,
  );
  expect(revealed.data.revealKey.revealed.value).toBe(secret);
  const child = await api.ask(token, run, { action: "core.echo", parameters: { message: `${secret}!` } });
  const { id, parameters } = child.data.executeAction.execution;
  expect(parameters).toEqual({ message: "[secret:password]!" });
  // It is shown masked, and stored as a secret of the child.
  expect(
    await world.all(
      sql`select path from attune.execution_secret where execution = ${atob(id).split(":")[1] ?? ""}::bigint`,
    ),
  ).toEqual([{ path: "/message" }]);
});
