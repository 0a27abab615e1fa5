import { createHash } from "node:crypto";
import { sql } from "drizzle-orm";
import type { Row } from "../../db/model/sample.ts";
import { factsOf } from "./facts.ts";
import { allows, type Facts, holdsAny, type Role } from "./roles.ts";
import { roles as myRoles } from "./server.ts";
import { globalId, type Matrix } from "./setup.ts";

export type Side = "own" | "others";

/** One use of a mutation whose verb checks the grants. */
export interface Verb {
  name: string;
  /** The kind of row that it is used on. */
  on: string;
  /** The table that it changes. */
  table: string;
  /** Creates the row, and returns the mutation's input and the row's facts. */
  prepare(matrix: Matrix, side: Side): Promise<{ input: Row; facts: Facts }>;
  /** Whether the role may use it, according to the documentation. */
  may(role: Role, facts: Facts): boolean;
  /** Whether the role may read the row that the input names: the row to change or its owner. */
  canRead(role: Role, facts: Facts, matrix: Matrix): boolean;
}

const logins: Readonly<Record<Side, string>> = { own: "me", others: "somebody" };
const packs: Readonly<Record<Side, string>> = { own: "alpha", others: "beta" };
let created = 0;
const next = (kind: string) => {
  created += 1;
  return `${kind}${created}`;
};

const identityOf = (matrix: Matrix, side: Side) =>
  side === "own" ? matrix.seeds.me : (matrix.seeds.others.get("identity") ?? "");

function identityFacts(matrix: Matrix, side: Side): Facts {
  const facts = matrix.facts.get("Identity")?.get(identityOf(matrix, side));
  if (!facts) throw new Error(`the identity ${logins[side]} has no facts`);
  return facts;
}

/** Runs a mutation with every grant, and returns its payload's only field. */
async function must(matrix: Matrix, name: string, field: string, input: Row): Promise<{ id: string; ref: string }> {
  const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  const { data, errors } = await matrix.server.ask(
    matrix.admin,
    `mutation($input: ${type}Input!) { ${name}(input: $input) { ... on ${type}Payload { ${field} { id ref } } ... on Error { message } } }`,
    { input },
  );
  const entity = data?.[name]?.[field];
  if (!entity) throw new Error(JSON.stringify(errors ?? data));
  return entity;
}

async function factsOfRow(matrix: Matrix, typename: string, id: string): Promise<Facts> {
  const found = await factsOf(matrix.world.services.db, typename, matrix.seeds.me, myRoles);
  const facts = found.find((row) => row.id === id);
  if (!facts) throw new Error(`${typename} ${id} has no facts`);
  return facts;
}

/** The facts of a row that does not exist yet: the ref and the owner that it will have. */
const futureFacts = (facts: Partial<Facts>): Facts => ({
  id: "",
  ref: null,
  pack: null,
  owner: null,
  always: false,
  ...facts,
});

const keyOwners: Readonly<Record<string, (side: Side) => Row>> = {
  "of an identity": (side) => ({ identity: logins[side] }),
  "of a pack": (side) => ({ pack: packs[side] }),
};

/** Whether the role may read the owner, or the future owner, of the row. */
function canReadOwner(role: Role, { owner, pack }: Facts, matrix: Matrix): boolean {
  const [typename, resource] = pack === null ? ["Identity", "identity"] : ["Pack", "pack"];
  const all = [...(matrix.facts.get(typename)?.values() ?? [])];
  const facts = all.find((each) => (pack === null ? each.id === owner : each.ref === pack));
  return facts !== undefined && allows(role, resource, "read", facts);
}

async function createKey(matrix: Matrix, owner: Row): Promise<{ name: string; facts: Facts }> {
  const name = next("key");
  const { id } = await must(matrix, "setKey", "key", { owner, name, value: "v", encrypted: true });
  return { name, facts: await factsOfRow(matrix, "Key", atob(id).split(":")[1] ?? "") };
}

const mayWithKey = (action: string) => (role: Role, facts: Facts) =>
  facts.owner === role.identity || allows(role, "key", action, facts);

const keyVerbs = Object.entries(keyOwners).flatMap(([on, ownerOf]): Verb[] => {
  const ofStored = (action: string): Pick<Verb, "may" | "canRead"> => ({
    may: mayWithKey(action),
    canRead: mayWithKey("read"),
  });
  const prepare: Verb["prepare"] = async (matrix, side) => {
    const { facts } = await createKey(matrix, ownerOf(side));
    return { input: { ref: facts.ref }, facts };
  };
  return [
    {
      name: "setKey",
      on: `a new key ${on}`,
      table: "key",
      prepare: async (matrix, side) => {
        const like = await createKey(matrix, ownerOf(side));
        const name = next("key");
        const facts = { ...like.facts, id: "", ref: (like.facts.ref ?? "").replace(like.name, name) };
        return { input: { owner: ownerOf(side), name, value: "w", encrypted: true }, facts };
      },
      may: mayWithKey("create"),
      canRead: canReadOwner,
    },
    {
      name: "setKey",
      on: `a key ${on}`,
      table: "key",
      prepare: async (matrix, side) => {
        const { name, facts } = await createKey(matrix, ownerOf(side));
        return { input: { owner: ownerOf(side), name, value: "w", encrypted: true }, facts };
      },
      may: mayWithKey("update"),
      // An unreadable key is treated like one to be created.
      canRead: (role, facts, matrix) => mayWithKey("read")(role, facts) || canReadOwner(role, facts, matrix),
    },
    { name: "deleteKey", on: `a key ${on}`, table: "key", prepare, ...ofStored("delete") },
    { name: "revealKey", on: `a key ${on}`, table: "audit_event", prepare, ...ofStored("reveal") },
  ];
});

const inquiry =
  (instead: (side: Side) => Row): Verb["prepare"] =>
  async (matrix, side) => {
    const id = await matrix.seeds.another("inquiry", side, { execution: null, ...instead(side) });
    return { input: { id: globalId("Inquiry", id) }, facts: await factsOfRow(matrix, "Inquiry", id) };
  };
const mayWithInquiry = (action: string) => (role: Role, facts: Facts) => allows(role, "inquiry", action, facts);
const toRole = (side: Side): Row => ({ assigned_to: null, assigned_role: side === "own" ? myRoles[0] : "night_shift" });

const inquiryVerbs: Verb[] = [
  {
    name: "createInquiry",
    on: "a question to an identity",
    table: "inquiry",
    prepare: async (matrix, side) => ({
      input: { prompt: "?", assignedTo: logins[side] },
      facts: futureFacts({ owner: identityOf(matrix, side) }),
    }),
    may: mayWithInquiry("create"),
    canRead: canReadOwner,
  },
  ...[
    { on: "a question to an identity", prepare: inquiry(() => ({})) },
    { on: "a question to a role", prepare: inquiry(toRole) },
  ].flatMap(({ on, prepare }): Verb[] => [
    {
      name: "respondToInquiry",
      on,
      table: "inquiry",
      prepare,
      // The identity that it was assigned to may always read it.
      may: (role, facts) => facts.always || mayWithInquiry("respond")(role, facts),
      canRead: mayWithInquiry("read"),
    },
    {
      name: "cancelInquiry",
      on,
      table: "inquiry",
      prepare,
      may: mayWithInquiry("cancel"),
      canRead: mayWithInquiry("read"),
    },
  ]),
];

/** Rows that belong to an identity: the caller's own, or with a grant for that identity. */
const mayForIdentity = (role: Role, facts: Facts) =>
  facts.id === role.identity || allows(role, "identity", "update", facts);
const canReadIdentity = (role: Role, facts: Facts) => allows(role, "identity", "read", facts);

const identityVerbs: Verb[] = [
  {
    name: "createApiToken",
    on: "an identity",
    table: "token",
    prepare: async (matrix, side) => ({
      input: { label: "matrix", login: logins[side] },
      facts: identityFacts(matrix, side),
    }),
    may: mayForIdentity,
    canRead: canReadIdentity,
  },
  {
    name: "revokeApiToken",
    on: "a token",
    table: "token",
    prepare: async (matrix, side) => ({
      input: { id: globalId("ApiToken", await matrix.seeds.another("token", side, { kind: "api" })) },
      facts: identityFacts(matrix, side),
    }),
    may: mayForIdentity,
    // The only fact of a token is its owner.
    canRead: (role, { id }) => id === role.identity || allows(role, "token", "read", futureFacts({ owner: id })),
  },
  {
    name: "setPassword",
    on: "an identity",
    table: "identity",
    prepare: async (matrix, side) => {
      // An identity without a password sets the first one without the current one.
      await matrix.world.services.db.execute(
        sql`update attune.identity set password_hash = null where login = ${logins[side]}`,
      );
      return {
        input: { login: logins[side], password: `${next("correct horse ")} battery` },
        facts: identityFacts(matrix, side),
      };
    },
    may: mayForIdentity,
    canRead: canReadIdentity,
  },
];

const content = { contentType: "application/zip", size: "3", sha256: createHash("sha256").update("abc").digest("hex") };
const place = (side: Side) => ({ ref: next("upload"), type: "OTHER", scope: "IDENTITY", owner: logins[side] });

/** Without any grant of the kind, the mutation is refused before anything is looked up. */
const canReadOwnerOfUpload: Verb["canRead"] = (role, facts, matrix) =>
  !["artifact:create", "artifact:update"].some((may) => holdsAny(role, may)) || canReadOwner(role, facts, matrix);

const artifactVerbs: Verb[] = [
  {
    name: "createArtifactUpload",
    on: "a new artifact",
    table: "artifact",
    prepare: async (matrix, side) => {
      const input = { ...place(side), ...content };
      return { input, facts: futureFacts({ ref: input.ref, owner: identityOf(matrix, side) }) };
    },
    may: (role, facts) => allows(role, "artifact", "create", facts),
    canRead: canReadOwnerOfUpload,
  },
  {
    name: "createArtifactUpload",
    on: "an artifact",
    table: "idempotency_key",
    prepare: async (matrix, side) => {
      const where = place(side);
      await must(matrix, "createArtifact", "artifact", where);
      return {
        input: { ...where, ...content },
        facts: futureFacts({ ref: where.ref, owner: identityOf(matrix, side) }),
      };
    },
    may: (role, facts) => allows(role, "artifact", "update", facts),
    canRead: canReadOwnerOfUpload,
  },
];

/** Every such mutation except `signOut`, which ends the calling session. */
export const verbs: readonly Verb[] = [...keyVerbs, ...inquiryVerbs, ...identityVerbs, ...artifactVerbs];
