import { createHash } from "node:crypto";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../src/access/session.ts";
import { receiveContent } from "../../src/artifact/files.ts";
import { addVersion } from "../../src/artifact/version.ts";
import { write } from "../../src/db/tx.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { withoutFeed } from "../support/database.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
let ungranted: Session;
let keeper: Session;
let reader: Session;

const grant = (actions: string[], constraints?: object) => ({
  resource: "artifact",
  actions,
  ...(constraints && { constraints }),
});

beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
  ungranted = await createPerson(world.services, "nobody", { grants: [] });
  keeper = await createPerson(world.services, "keeper", {
    grants: [grant(["create", "read", "update", "delete"], { owner: "self" })],
  });
  reader = await createPerson(world.services, "reader", {
    grants: [grant(["read"], { refs: ["shown"] }), { resource: "execution", actions: ["read"] }],
  });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const upperFirst = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** Runs a mutation and returns its payload or refusal. */
async function mutate(session: Session, name: string, input: object, selection = "artifact { id ref }") {
  const type = upperFirst(name);
  const { data, errors } = await api.ask(
    session,
    `mutation ($input: ${type}Input!) { ${name}(input: $input) { __typename ... on ${type}Payload { ${selection} }
      ... on InvalidInputError { issues { path message } } ... on Error { code message } } }`,
    { input },
  );
  if (errors) return { code: errors[0]?.extensions["code"] };
  return data[name];
}

async function create(session: Session, input: object) {
  return (await mutate(session, "createArtifact", { type: "FILE_TEXT", ...input })).artifact as {
    id: string;
    ref: string;
  };
}

const refs = async (session: Session, where: object) => {
  const { data, errors } = await api.ask(
    session,
    `query ($where: ArtifactWhere) { artifacts(where: $where, orderBy: {field: REF, direction: ASC}) { totalCount { count } nodes { ref } } }`,
    { where },
  );
  if (errors) throw new Error(JSON.stringify(errors));
  expect(data.artifacts.totalCount.count).toBe(data.artifacts.nodes.length);
  return data.artifacts.nodes.map(({ ref }: { ref: string }) => ref);
};

/** Stores a text as the next version. */
async function add(artifact: string, text: string, execution: string | null = null) {
  const source = async function* () {
    yield Buffer.from(text);
  };
  await using received = await receiveContent(world.services, source());
  const content = await received.keep();
  const id = Buffer.from(artifact, "base64").toString().replace("Artifact:", "");
  return await write(world.services, (tx) =>
    addVersion(tx, { artifact: id, execution, contentType: "text/plain", content }),
  );
}

const everything = `ref scope owner type visibility name description contentType size url progress retention retentionLimit
  versions { totalCount { count } }`;

describe("creating", () => {
  test("with only the required fields", async () => {
    expect(
      await mutate(world.session, "createArtifact", { ref: "minimal", type: "OTHER" }, `artifact { ${everything} }`),
    ).toMatchObject({
      artifact: {
        ref: "minimal",
        scope: "SYSTEM",
        owner: "",
        type: "OTHER",
        visibility: "PRIVATE",
        name: null,
        description: null,
        contentType: null,
        size: null,
        url: null,
        progress: null,
        retention: "VERSIONS",
        retentionLimit: 1,
        versions: { totalCount: { count: 0 } },
      },
    });
  });

  test("with every field, and of each type with fields of its own", async () => {
    const full = {
      ref: "full/täst.csv",
      scope: "ACTION",
      owner: "core.shell",
      type: "FILE_DATATABLE",
      visibility: "PUBLIC",
      name: "Name",
      description: "Two\nlines",
      contentType: "text/csv; charset=utf-8",
      retention: "HOURS",
      retentionLimit: 7,
    };
    const { artifact } = await mutate(world.session, "createArtifact", full, `artifact { ${everything} }`);
    expect(artifact).toMatchObject(full);
    const link = { ref: "link", type: "URL", url: "https://example.org/x?y=1" };
    expect((await mutate(world.session, "createArtifact", link, "artifact { url progress }")).artifact).toEqual({
      url: link.url,
      progress: null,
    });
    const progress = { ref: "progress", type: "PROGRESS" };
    expect((await mutate(world.session, "createArtifact", progress, "artifact { url progress }")).artifact).toEqual({
      url: null,
      progress: [],
    });
  });

  test.each<[string, object, string]>([
    ["an empty ref", { ref: "" }, "ref"],
    ["a ref with an empty part", { ref: "a//b" }, "ref"],
    ["a ref that leads up", { ref: "a/../b" }, "ref"],
    ["a ref of two lines", { ref: "a\nb" }, "ref"],
    ["a ref that is too long", { ref: "x".repeat(401) }, "ref"],
    ["an invalid content type", { contentType: "text" }, "contentType"],
    ["a content type that ends a header", { contentType: "text/plain\r\nset-cookie: a=b" }, "contentType"],
    ["no limit", { retentionLimit: 0 }, "retentionLimit"],
    ["an owner in the system scope", { owner: "core" }, "owner"],
    ["a scope without an owner", { scope: "PACK" }, "owner"],
    ["a link without a URL", { type: "URL" }, "url"],
    ["a link to a script", { type: "URL", url: "javascript:alert(1)" }, "url"],
    ["a URL on a file", { url: "https://example.org/" }, "url"],
  ])("is refused with %s", async (_name, input, path) => {
    expect(await mutate(world.session, "createArtifact", { ref: "refused", type: "OTHER", ...input })).toMatchObject({
      __typename: "InvalidInputError",
      issues: [{ path }],
    });
  });

  test("is refused for an unknown owner, and for a ref that its owner already has", async () => {
    const foreign = { ref: "x", type: "OTHER", scope: "IDENTITY", owner: "stranger" };
    expect(await mutate(world.session, "createArtifact", foreign)).toMatchObject({ code: "NOT_FOUND" });
    await create(world.session, { ref: "taken" });
    expect(await mutate(world.session, "createArtifact", { ref: "taken", type: "OTHER" })).toMatchObject({
      code: "CONFLICT",
    });
    expect(await create(world.session, { ref: "taken", scope: "PACK", owner: "core" })).toMatchObject({ ref: "taken" });
  });

  test("with an idempotency key creates one", async () => {
    const input = { ref: "idempotent", idempotencyKey: "artifact-1" };
    expect(await create(world.session, input)).toEqual(await create(world.session, input));
  });
});

describe("changing", () => {
  test("changes the given fields, clears those given as null, and refuses an outdated version", async () => {
    const { id } = await create(world.session, { ref: "changed", name: "Name", description: "Text" });
    const select = "artifact { name description visibility retention retentionLimit updated }";
    const first = await mutate(
      world.session,
      "updateArtifact",
      { id, visibility: "PUBLIC", retention: "DAYS", name: null },
      select,
    );
    expect(first.artifact).toMatchObject({
      name: null,
      description: "Text",
      visibility: "PUBLIC",
      retention: "DAYS",
      retentionLimit: 1,
    });
    const expectedUpdated = first.artifact.updated;
    const second = await mutate(world.session, "updateArtifact", { id, expectedUpdated, retentionLimit: 9 }, select);
    expect(second.artifact).toMatchObject({ retentionLimit: 9, retention: "DAYS" });
    expect(second.artifact.updated > expectedUpdated).toBe(true);
    expect(await mutate(world.session, "updateArtifact", { id, expectedUpdated, name: "Late" })).toMatchObject({
      code: "CONFLICT",
    });
    const unchanged = await mutate(world.session, "updateArtifact", { id }, select);
    expect(unchanged.artifact).toEqual(second.artifact);
  });

  test("is refused for a deleted artifact, and so is deleting it again", async () => {
    const { id } = await create(world.session, { ref: "gone" });
    expect(await mutate(world.session, "deleteArtifact", { id })).toMatchObject({ artifact: { id, ref: "gone" } });
    expect(await mutate(world.session, "deleteArtifact", { id })).toMatchObject({ code: "NOT_FOUND" });
    expect(await mutate(world.session, "updateArtifact", { id, name: "x" })).toMatchObject({ code: "NOT_FOUND" });
  });

  test("a progress keeps its newest hundred entries and validates each", async () => {
    const { id } = await create(world.session, { ref: "going", type: "PROGRESS" });
    const note = (input: object) =>
      mutate(world.session, "appendArtifactProgress", { id, ...input }, "artifact { progress }");
    expect((await note({ percent: 12.5, message: "begun" })).artifact.progress).toEqual([
      { at: expect.stringMatching(/^\d{4}-.*Z$/), percent: 12.5, message: "begun" },
    ]);
    expect(await note({})).toMatchObject({ __typename: "InvalidInputError" });
    expect(await note({ percent: 101 })).toMatchObject({ issues: [{ path: "percent" }] });
    expect(await note({ message: "x".repeat(501) })).toMatchObject({ issues: [{ path: "message" }] });
    const file = await create(world.session, { ref: "file" });
    expect(await mutate(world.session, "appendArtifactProgress", { id: file.id, percent: 1 })).toMatchObject({
      issues: [{ path: "id" }],
    });
  });
});

describe("reading", () => {
  let execution: string;
  beforeAll(async () => {
    const { id } = await world.one<{ id: string }>(
      sql`insert into attune.execution (action_ref, on_worker_loss, trace_tag, status, finished_at) values ('core.noop', 'abandon', 'read', 'cancelled', now())
        returning id::text`,
    );
    execution = id;
    for (const [ref, visibility] of [
      ["shown", "PRIVATE"],
      ["hidden", "PRIVATE"],
      ["open", "PUBLIC"],
    ]) {
      const created = await create(world.session, { ref, visibility });
      await add(created.id, `${ref} 1`);
      await add(created.id, `${ref} 2`, execution);
    }
    await create(keeper, { ref: "mine", scope: "IDENTITY", owner: "keeper" });
  });

  test("finds them by their fields", async () => {
    const own = { scope: { eq: "IDENTITY" }, owner: { eq: "keeper" } };
    expect(await refs(world.session, own)).toEqual(["mine"]);
    const left = { execution: { eq: btoa(`Execution:${execution}`) } };
    expect(await refs(world.session, left)).toEqual(["hidden", "open", "shown"]);
    expect(await refs(world.session, { ...left, visibility: { eq: "PUBLIC" }, type: { in: ["FILE_TEXT"] } })).toEqual([
      "open",
    ]);
    expect(await refs(world.session, { ref: { startsWith: "show" }, not: { type: { eq: "URL" } } })).toEqual(["shown"]);
    expect(await refs(world.session, { ...left, created: { lt: "2020-01-01T00:00:00.000Z" } })).toEqual([]);
  });

  test("shows public ones to every signed-in user, and the others to users whose grants cover them", async () => {
    const among = { ref: { in: ["shown", "hidden", "open", "mine"] } };
    expect(await refs(ungranted, among)).toEqual(["open"]);
    expect(await refs(reader, among)).toEqual(["open", "shown"]);
    expect(await refs(keeper, among)).toEqual(["mine", "open"]);
    const { errors } = await api.ask(null, "{ artifacts { totalCount { count } } }");
    expect(errors?.[0]?.extensions["code"]).toBe("UNAUTHENTICATED");
  });

  test("shows versions of readable artifacts, also from the execution and by id", async () => {
    const document = `query ($id: ID!) { execution(id: $id) { artifactVersions(orderBy: {field: CREATED, direction: ASC}) {
      totalCount { count } nodes { id version size sha256 contentType artifact { ref } execution { id } } } } }`;
    const id = btoa(`Execution:${execution}`);
    const { data } = await api.ask(world.session, document, { id });
    const { nodes, totalCount } = data.execution.artifactVersions;
    expect(totalCount.count).toBe(3);
    expect(nodes[0]).toEqual({
      id: expect.any(String),
      version: 2,
      size: "7",
      sha256: createHash("sha256").update("shown 2").digest("hex"),
      contentType: "text/plain",
      artifact: { ref: "shown" },
      execution: { id },
    });
    const seen = await api.ask(reader, document, { id });
    const shown = seen.data.execution.artifactVersions;
    expect(shown.nodes.map(({ artifact }: { artifact: { ref: string } }) => artifact.ref).sort()).toEqual([
      "open",
      "shown",
    ]);
    expect(shown.totalCount.count).toBe(2);
    const ids = nodes.map((node: { id: string }) => node.id);
    const byId = await api.ask(
      reader,
      `query ($ids: [ID!]!) { nodes(ids: $ids) { ... on ArtifactVersion { artifact { ref } } } }`,
      { ids },
    );
    expect(byId.data.nodes).toEqual([{ artifact: { ref: "shown" } }, null, { artifact: { ref: "open" } }]);
  });

  test("needs as many statements for many as for one", async () => {
    const document = `query ($n: Int) { artifacts(first: $n) { nodes { ref
      versions { nodes { version downloadUrl execution { id } } } } } }`;
    const count = async (n: number) => {
      world.services.statements.length = 0;
      expect((await api.ask(world.session, document, { n })).errors).toBeUndefined();
      return withoutFeed(world.services.statements).length;
    };
    expect(await count(10)).toBe(await count(1));
  });
});

describe("a grant", () => {
  test("on one's own artifacts allows nothing else", async () => {
    const own = { scope: "IDENTITY", owner: "keeper" };
    const { id } = await create(keeper, { ref: "own", ...own });
    expect(await mutate(keeper, "updateArtifact", { id, name: "x" })).toMatchObject({ artifact: { id } });
    const others = await create(world.session, { ref: "other" });
    for (const [name, input] of [
      ["createArtifact", { ref: "system", type: "OTHER" }],
      ["createArtifact", { ref: "admins", type: "OTHER", scope: "IDENTITY", owner: "admin" }],
      ["createArtifact", { ref: "nobodys", type: "OTHER", scope: "IDENTITY", owner: "gone" }],
      ["updateArtifact", { id: others.id, name: "x" }],
      ["deleteArtifact", { id: others.id }],
      ["appendArtifactProgress", { id: others.id, percent: 1 }],
    ] as const) {
      // Unreadable artifacts are not found.
      const code = "id" in input || "owner" in input ? "NOT_FOUND" : "FORBIDDEN";
      expect({ name, ...(await mutate(keeper, name, input)) }).toMatchObject({ name, code });
      expect({ name, ...(await mutate(ungranted, name, input)) }).toMatchObject({ name, code: "FORBIDDEN" });
    }
    expect(await mutate(keeper, "deleteArtifact", { id })).toMatchObject({ artifact: { id } });
  });
});

describe("preparing an upload", () => {
  const content = { type: "FILE_TEXT", contentType: "text/plain", size: "1", sha256: "ab".repeat(32) };
  const prepare = (session: Session, input: object) =>
    mutate(session, "createArtifactUpload", { ...content, ...input }, "upload { url artifact { ref } }");

  test("creates the artifact unless it exists", async () => {
    for (let round = 0; round < 2; round += 1) {
      expect(await prepare(world.session, { ref: "prepared" })).toMatchObject({
        upload: { url: expect.stringMatching(/^\/artifacts\/upload\/\d+\?/), artifact: { ref: "prepared" } },
      });
    }
    expect(await refs(world.session, { ref: { eq: "prepared" } })).toEqual(["prepared"]);
    expect(await prepare(world.session, { ref: "prepared", type: "OTHER" })).toMatchObject({ code: "CONFLICT" });
    const many = await Promise.all(Array.from({ length: 8 }, () => prepare(world.session, { ref: "raced" })));
    expect(many.map(({ __typename }) => __typename)).toEqual(Array(8).fill("CreateArtifactUploadPayload"));
  });

  test.each<[string, object, string]>([
    ["too many bytes", { size: String(2 ** 31) }, "size"],
    ["a negative size", { size: "-1" }, "size"],
    ["an invalid hash", { sha256: "AB".repeat(32) }, "sha256"],
    ["a type without versions", { type: "PROGRESS" }, "type"],
    ["no media type", { contentType: "" }, "contentType"],
  ])("is refused with %s", async (_name, input, path) => {
    expect(await prepare(world.session, { ref: "refused", ...input })).toMatchObject({ issues: [{ path }] });
    expect(await refs(world.session, { ref: { eq: "refused" } })).toEqual([]);
  });

  test("requires a grant to create the artifact or to change it, and an identity", async () => {
    expect(await prepare(ungranted, { ref: "prepared" })).toMatchObject({ code: "FORBIDDEN" });
    expect(await prepare(reader, { ref: "shown" })).toMatchObject({ code: "FORBIDDEN" });
    expect(await prepare(keeper, { ref: "prepared" })).toMatchObject({ code: "FORBIDDEN" });
    expect(await prepare(keeper, { ref: "kept", scope: "IDENTITY", owner: "keeper" })).toMatchObject({ upload: {} });
    const execution: Session = { ...world.session, identityId: null, kind: "execution" };
    expect(await prepare(execution, { ref: "prepared" })).toMatchObject({
      code: "FORBIDDEN",
      message: expect.stringContaining("ATTUNE_ARTIFACTS_DIR"),
    });
  });
});
