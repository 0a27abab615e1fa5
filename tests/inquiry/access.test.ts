import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../src/access/session.ts";
import { createInquiry } from "../../src/inquiry/create.ts";
import { type Api, createApi } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";
import { person } from "./people.ts";

const globalId = (id: bigint) => btoa(`Inquiry:${id}`);
const everywhere = `query ($id: ID!) {
  inquiry(id: $id) { prompt viewerCan { respond cancel } }
  node(id: $id) { ... on Inquiry { prompt } }
  inquiries { totalCount { count } nodes { prompt } }
  viewer { myInquiries { totalCount { count } nodes { prompt } } }
  inquiryChangedMessages { inquiryId }
}`;
const create = `mutation ($key: String) { createInquiry(input: {prompt: "By hand?", idempotencyKey: $key, defaultResponse: {a: 1},
    timeoutSeconds: 60, responseSchema: {a: {type: "integer"}, b: {type: "integer", default: 2}}}) {
  __typename ... on CreateInquiryPayload { inquiry { id status defaultResponse timeoutAt execution { id } } }
  ... on InvalidInputError { issues { path } } } }`;
const respond = "mutation ($id: ID!) { respondToInquiry(input: {id: $id, response: 1}) { __typename } }";
const cancel = "mutation ($id: ID!) { cancelInquiry(input: {id: $id}) { __typename } }";

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

/** Reads the inquiry in every way and returns what the session sees. */
async function seen(session: Session, id: bigint) {
  const { data, errors } = await api.ask(session, everywhere, { id: globalId(id) });
  expect(errors).toBeUndefined();
  return {
    one: data.inquiry,
    node: data.node !== null,
    list: data.inquiries.totalCount.count,
    mine: data.viewer.myInquiries.totalCount.count,
    changes: data.inquiryChangedMessages.filter((change: { inquiryId: string }) => change.inquiryId === globalId(id))
      .length,
  };
}

describe("an inquiry is visible", () => {
  test("to its assignee, by identity or role, and to readers of all inquiries, but to no other session in any way", async () => {
    const [lead, helper, other] = [
      await person(world),
      await person(world, { roles: ["on-call"] }),
      await person(world),
    ];
    const reader = await person(world, { grants: [{ resource: "inquiry", actions: ["read"] }] });
    const own = await person(world, {
      grants: [{ resource: "inquiry", actions: ["read"], constraints: { owner: "self" } }],
    });
    const ask = (prompt: string, to: { assignedTo?: string; assignedRole?: string }) =>
      commit(world.services, createInquiry, world.session, { prompt, ...to });
    const { id } = await ask("Who?", { assignedTo: lead.login, assignedRole: "on-call" });
    await ask("Else?", { assignedRole: "other-role" });
    const nothing = { one: null, node: false, list: 0, mine: 0, changes: 0 };
    const assigned = {
      one: { prompt: "Who?", viewerCan: { respond: true, cancel: false } },
      node: true,
      list: 1,
      mine: 1,
      changes: 1,
    };
    // An open transaction in another database of the cluster holds the log back for a while.
    await until(async () => (await seen(await lead.session(), id)).changes > 0, "the log to include the inquiry");
    expect(await seen(await lead.session(), id)).toEqual(assigned);
    expect(await seen(await helper.session(), id)).toEqual(assigned);
    expect(await seen(await other.session(), id)).toEqual(nothing);
    expect(await seen(await own.session(), id)).toEqual(nothing);
    expect(await seen(await reader.session(), id)).toEqual({
      one: { prompt: "Who?", viewerCan: { respond: false, cancel: false } },
      node: true,
      list: 2,
      mine: 0,
      changes: 1,
    });
    expect((await api.ask(null, everywhere, { id: globalId(id) })).errors?.[0]?.extensions["code"]).toBe(
      "UNAUTHENTICATED",
    );
  });

  test("and refusals of actions on it reveal no more", async () => {
    const [lead, other] = [await person(world), await person(world)];
    const { id } = await commit(world.services, createInquiry, world.session, { prompt: "?", assignedTo: lead.login });
    const act = async (session: Session, mutation: string) =>
      Object.values((await api.ask(session, mutation, { id: globalId(id) })).data)[0];
    expect(await act(await other.session(), respond)).toEqual({ __typename: "NotFoundError" });
    expect(await act(await other.session(), cancel)).toEqual({ __typename: "NotFoundError" });
    expect(await act(await lead.session(), cancel)).toEqual({ __typename: "ForbiddenError" });
    expect(await act(await lead.session(), respond)).toEqual({ __typename: "RespondToInquiryPayload" });
    expect(await act(await lead.session(), respond)).toEqual({ __typename: "ConflictError" });
  });
});

test("createInquiry requires a grant, and creates one inquiry per idempotency key", async () => {
  const [asker, other] = [
    await person(world, { grants: [{ resource: "inquiry", actions: ["create"] }] }),
    await person(world),
  ];
  expect((await api.ask(await other.session(), create)).data).toEqual({
    createInquiry: { __typename: "ForbiddenError" },
  });
  const session = await asker.session();
  const first = await api.ask(session, create, { key: "once" });
  expect(first.data.createInquiry).toMatchObject({
    __typename: "CreateInquiryPayload",
    inquiry: { status: "PENDING", defaultResponse: { a: 1, b: 2 }, execution: null },
  });
  expect(await api.ask(session, create, { key: "once" })).toMatchObject({ data: first.data });
});
