import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createApiToken, revokeApiToken } from "../../src/access/api-token.ts";
import {
  addPermissionSetToRole,
  assignPermissionSet,
  assignRole,
  removePermissionSetFromRole,
  unassignPermissionSet,
  unassignRole,
} from "../../src/access/assignment.ts";
import { createAttempts } from "../../src/access/attempts.ts";
import type { Grant } from "../../src/access/grants.ts";
import { deleteIdentity, updateIdentity } from "../../src/access/identity.ts";
import { createPermissionSet, deletePermissionSet, updatePermissionSet } from "../../src/access/permission.ts";
import type { Session } from "../../src/access/session.ts";
import { findSession } from "../../src/access/sessions.ts";
import { signIn } from "../../src/access/sign-in.ts";
import { createSignInToken, issueApiToken } from "../../src/access/token.ts";
import { write } from "../../src/db/tx.ts";
import { commit, commitIdentity, commitPassword } from "../support/commit.ts";
import type { TestServices } from "../support/database.ts";
import { createWorld, type World } from "../support/world.ts";

const forbidden = { code: "FORBIDDEN" };
const notFound = { code: "NOT_FOUND" };
const conflict = { code: "CONFLICT" };
const bad = { code: "BAD_USER_INPUT" };
const password = "correct horse battery";

let world: World;
let services: TestServices;
let admin: Session;

beforeAll(async () => {
  world = await createWorld();
  services = world.services;
  admin = world.session;
});
afterAll(() => world[Symbol.asyncDispose]());

let count = 0;

type NewIdentity = Parameters<typeof commitIdentity>[2];
const blank: Omit<NewIdentity, "login"> = {
  displayName: null,
  password: null,
  attributes: {},
  roles: [],
  permissionSets: [],
};

/** Creates an identity that holds these grants, and signs it in. */
async function person(grants: readonly Grant[], fields: Partial<NewIdentity> = {}) {
  count += 1;
  const login = `person${count}`;
  const ref = `default.of_${login}`;
  await commit(services, createPermissionSet, admin, { ref, grants });
  await commitIdentity(services, admin, { ...blank, login, permissionSets: [ref], ...fields });
  return { login, ref, session: await sessionOf(login) };
}

async function sessionOf(login: string, id?: string): Promise<Session> {
  const identity =
    id ?? (await world.one<{ id: string }>(sql`select id::text from attune.identity where login = ${login}`)).id;
  const value = await write(services, (tx) => issueApiToken(tx, identity, "test"));
  return await valid(value);
}

async function valid(value: string | undefined): Promise<Session> {
  const session = await findSession(services.db, value ?? "");
  if (!session) throw new Error("the credential is invalid");
  return session;
}

const manager: Grant[] = [
  { resource: "identity", actions: ["*"] },
  { resource: "permission_set", actions: ["*"] },
  { resource: "rule", actions: ["read", "update"], constraints: { pack_refs: ["default"] } },
];
const everything: Grant = { resource: "*", actions: ["*"] };

describe("an identity grants only what it holds", () => {
  test("not by a set that it creates or changes", async () => {
    const { session, ref } = await person(manager);
    const wider: Grant = { resource: "rule", actions: ["update"] };
    const create = (grants: Grant[]) =>
      commit(services, createPermissionSet, session, { ref: "default.wider", grants });
    await expect(create([everything])).rejects.toMatchObject({ ...forbidden, message: expect.stringContaining("*:*") });
    await expect(create([wider])).rejects.toMatchObject({ message: expect.stringContaining("rule:update") });
    await expect(
      commit(services, updatePermissionSet, session, {
        ref,
        expectedUpdated: null,
        patch: { grants: [...manager, wider] },
      }),
    ).rejects.toMatchObject(forbidden);
    const narrower: Grant = { resource: "rule", actions: ["update"], constraints: { refs: ["default.x"] } };
    await expect(
      create([{ ...narrower, constraints: { ...narrower.constraints, pack_refs: ["default"] } }]),
    ).resolves.toEqual({ id: expect.any(BigInt) });
  });

  test("not by an assignment to itself or to another", async () => {
    const { session, login } = await person(manager);
    const give = (permissionSet: string) => commit(services, assignPermissionSet, session, { login, permissionSet });
    await expect(give("core.admin")).rejects.toMatchObject(forbidden);
    await expect(give("core.viewer")).rejects.toMatchObject(forbidden);
    const friend = { ...blank, login: "friend", permissionSets: ["core.admin"] };
    await expect(commitIdentity(services, session, friend)).rejects.toMatchObject(forbidden);
    expect(await world.all(sql`select from attune.identity where login = 'friend'`)).toHaveLength(0);
  });

  test("not by a role, nor by a role's permission sets", async () => {
    const { session, login, ref } = await person(manager);
    await commit(services, addPermissionSetToRole, admin, { role: "chiefs", permissionSet: "core.admin" });
    await expect(commit(services, assignRole, session, { login, role: "chiefs" })).rejects.toMatchObject(forbidden);
    const friend = { ...blank, login: "friend", roles: ["chiefs"] };
    await expect(commitIdentity(services, session, friend)).rejects.toMatchObject(forbidden);
    // A role without permission sets still lets its holders respond to inquiries.
    await expect(commit(services, assignRole, session, { login, role: "approvers" })).rejects.toMatchObject(forbidden);
    await commit(services, assignRole, admin, { login, role: "approvers" });
    const holder = await sessionOf(login);
    const add = (permissionSet: string) =>
      commit(services, addPermissionSetToRole, holder, { role: "approvers", permissionSet });
    await expect(add("core.editor")).rejects.toMatchObject(forbidden);
    await expect(add(ref)).resolves.toEqual({ id: expect.any(BigInt) });
    const { login: other } = await person([]);
    await commit(services, assignRole, holder, { login: other, role: "approvers" });
    expect((await sessionOf(other)).grants).toEqual(expect.arrayContaining(manager));
    await commit(services, unassignRole, holder, { login: other, role: "approvers" });
    expect((await sessionOf(other)).grants).toEqual([]);
  });

  test("not by the credentials of an identity with more grants", async () => {
    const { session, login } = await person(manager);
    const boss = await person([everything]);
    const attempts = createAttempts();
    const take = (who: string) =>
      commitPassword(services, session, { login: who, currentPassword: null, password, attempts });
    const token = { login: boss.login, label: "mine now", expiresAt: null, permissionSetRefs: null };
    await expect(take(boss.login)).rejects.toMatchObject(forbidden);
    await expect(commit(services, createApiToken, session, token)).rejects.toMatchObject(forbidden);
    // Freezing the identity first does not help.
    const freeze = (frozen: boolean) =>
      commit(services, updateIdentity, session, { login: boss.login, expectedUpdated: null, patch: { frozen } });
    await freeze(true);
    await expect(take(boss.login)).rejects.toMatchObject(forbidden);
    await expect(commit(services, createApiToken, session, token)).rejects.toMatchObject(forbidden);
    await freeze(false);
    const { login: junior } = await person([{ resource: "identity", actions: ["read"] }]);
    await expect(take(junior)).resolves.toEqual({ id: expect.any(BigInt) });
    expect(login).not.toBe(junior);
  });

  test("not by a token that has more grants than the one that creates it", async () => {
    const { session, ref, login } = await person(manager);
    const create = (by: Session, fields: object = {}) =>
      commit(services, createApiToken, by, {
        login: null,
        label: "t",
        expiresAt: null,
        permissionSetRefs: null,
        ...fields,
      });
    await expect(create(session, { permissionSetRefs: ["core.admin"] })).rejects.toMatchObject(forbidden);
    await expect(create(session, { permissionSetRefs: ["core.none"] })).rejects.toMatchObject(notFound);
    const { value } = await create(session, { permissionSetRefs: [ref] });
    const narrowed = await valid(value);
    // It holds as much now, but would not gain its identity's later grants.
    await expect(create(narrowed)).rejects.toMatchObject(forbidden);
    const first = { login: null, currentPassword: null, password, attempts: createAttempts() };
    await expect(commitPassword(services, narrowed, first)).rejects.toMatchObject(forbidden);
    await expect(create(narrowed, { permissionSetRefs: [ref] })).resolves.toMatchObject({ value: expect.any(String) });
    // Naming one's own permission sets requires no grant to read them.
    const small = await person([{ resource: "rule", actions: ["read"] }]);
    await expect(create(small.session, { permissionSetRefs: [small.ref] })).resolves.toMatchObject({
      id: expect.any(BigInt),
    });
    await expect(create(small.session, { permissionSetRefs: [ref] })).rejects.toMatchObject(notFound);
    const running: Session = { ...session, kind: "execution", executionId: 1n };
    await expect(create(running, { permissionSetRefs: [ref] })).rejects.toMatchObject(forbidden);
    await expect(commitPassword(services, running, first)).rejects.toMatchObject(forbidden);
    // What the identity loses, its tokens lose.
    await commit(services, unassignPermissionSet, admin, { login, permissionSet: ref });
    expect((await valid(value)).grants).toEqual([]);
  });
});

describe("permission sets", () => {
  test("of a pack are not changed through the API", async () => {
    const change = { ref: "core.viewer", expectedUpdated: null, patch: { label: "Mine" } };
    await expect(commit(services, updatePermissionSet, admin, change)).rejects.toMatchObject(conflict);
    await expect(commit(services, deletePermissionSet, admin, { ref: "core.viewer" })).rejects.toMatchObject(conflict);
  });

  test("are validated, have unique refs, and are changed only in the version that was read", async () => {
    const create = (ref: string, grants: unknown[]) => commit(services, createPermissionSet, admin, { ref, grants });
    await expect(create("default.bad", [{ resource: "rules", actions: [] }])).rejects.toMatchObject({
      ...bad,
      issues: [{ path: "grants.0.resource" }, { path: "grants.0.actions" }],
    });
    await expect(create("Default.bad", [])).rejects.toMatchObject({ ...bad, issues: [{ path: "ref" }] });
    await expect(create("nowhere.set", [])).rejects.toMatchObject({ ...notFound, kind: "pack" });
    await create("default.once", [{ resource: "rule", actions: ["read"] }]);
    await expect(create("default.once", [])).rejects.toMatchObject(conflict);
    const read = () =>
      world.one<{ updated: string; label: string | null; grants: Grant[] }>(
        sql`select to_jsonb(updated) #>> '{}' as updated, label, grants from attune.permission_set where ref = 'default.once'`,
      );
    const before = await read();
    const change = (patch: object) =>
      commit(services, updatePermissionSet, admin, {
        ref: "default.once",
        expectedUpdated: new Date(before.updated),
        patch,
      });
    await change({ label: "Once" });
    await expect(change({ label: "Twice" })).rejects.toMatchObject(conflict);
    expect(await read()).toMatchObject({ label: "Once", grants: [{ resource: "rule", actions: ["read"] }] });
    await expect(commit(services, deletePermissionSet, admin, { ref: "default.none" })).rejects.toMatchObject(notFound);
    await commit(services, deletePermissionSet, admin, { ref: "default.once" });
  });
});

describe("an unreadable stored grant", () => {
  const unreadable = [
    { ...everything, constraints: { packs: ["ops"] } },
    { ...everything, constraints: null },
    { ...everything, only: "ops" },
    { resource: "everything", actions: ["*"] },
  ];
  const store = (ref: string, grants: readonly object[]) =>
    world.all(sql`update attune.permission_set set grants = ${JSON.stringify(grants)}::text::jsonb where ref = ${ref}`);

  test("grants nothing, rather than everything without its constraint", async () => {
    const readable: Grant = { resource: "rule", actions: ["read"] };
    const { login, ref } = await person([readable]);
    await store(ref, [...unreadable, readable]);
    expect((await sessionOf(login)).grants).toEqual([readable]);
    const narrowed = { login: null, label: "narrow", permissionSetRefs: [ref], expiresAt: null };
    const { value } = await commit(services, createApiToken, admin, narrowed);
    expect((await valid(value)).grants).toEqual([readable]);
  });

  test("does not count as an administrator's grant", async () => {
    await using own = await createWorld();
    await commit(own.services, createPermissionSet, own.session, { ref: "default.all", grants: [everything] });
    const second = { ...blank, login: "second", permissionSets: ["default.all"] };
    await commitIdentity(own.services, own.session, second);
    const stored = (grants: readonly object[]) =>
      own.all(
        sql`update attune.permission_set set grants = ${JSON.stringify(grants)}::text::jsonb where ref = 'default.all'`,
      );
    const stepDown = () =>
      commit(own.services, unassignPermissionSet, own.session, { login: "admin", permissionSet: "core.admin" });
    await stored(unreadable);
    await expect(stepDown()).rejects.toMatchObject(conflict);
    await stored([...unreadable, everything]);
    await stepDown();
  });

  test("is refused by the API", async () => {
    for (const grant of unreadable) {
      const creation = commit(services, createPermissionSet, admin, { ref: "default.unreadable", grants: [grant] });
      await expect(creation).rejects.toMatchObject(bad);
    }
  });
});

describe("identities", () => {
  test("have a unique login, and are found and changed only by identities with the grant", async () => {
    const create = (login: string, fields: object = {}) =>
      commitIdentity(services, admin, { ...blank, login, ...fields });
    await create("ada@example.org", { attributes: { team: "ops" } });
    await expect(create("ada@example.org")).rejects.toMatchObject(conflict);
    await expect(create("Ada Lovelace")).rejects.toMatchObject({ ...bad, issues: [{ path: "login" }] });
    await expect(create("short", { password: "too short" })).rejects.toMatchObject({ issues: [{ path: "password" }] });
    const { session } = await person([]);
    const rename = (login: string, patch: object) =>
      commit(services, updateIdentity, session, { login, expectedUpdated: null, patch });
    await expect(rename("ada@example.org", { displayName: "Ada" })).rejects.toMatchObject(notFound);
    await expect(rename(session.login, { displayName: "Me" })).rejects.toMatchObject(forbidden);
    await expect(commit(services, deleteIdentity, session, { login: "ada@example.org" })).rejects.toMatchObject(
      notFound,
    );
    await commit(services, deleteIdentity, admin, { login: "ada@example.org" });
    await expect(commit(services, deleteIdentity, admin, { login: "ada@example.org" })).rejects.toMatchObject(notFound);
  });

  test("have a set or a role once, however often it is given", async () => {
    const { login } = await person([]);
    for (let round = 0; round < 2; round += 1) {
      await commit(services, assignPermissionSet, admin, { login, permissionSet: "core.editor" });
      await commit(services, assignRole, admin, { login, role: "approvers" });
    }
    const held = await world.all<{ set: string; role: string }>(
      sql`select s.ref as set, r.role from attune.identity i join attune.permission_assignment a on a.identity = i.id
        join attune.permission_set s on s.id = a.permission_set join attune.identity_role r on r.identity = i.id
        where i.login = ${login} and s.ref = 'core.editor'`,
    );
    expect(held).toEqual([{ set: "core.editor", role: "approvers" }]);
  });

  test("are changed by a patch only in the fields that it contains", async () => {
    const { login } = await person([], { displayName: "Somebody" });
    const read = () =>
      world.one(sql`select display_name as name, attributes, frozen from attune.identity where login = ${login}`);
    const change = (patch: object) => commit(services, updateIdentity, admin, { login, expectedUpdated: null, patch });
    await change({ attributes: { team: "ops" } });
    expect(await read()).toEqual({ name: "Somebody", attributes: { team: "ops" }, frozen: false });
    await change({ displayName: null, frozen: true });
    expect(await read()).toEqual({ name: null, attributes: { team: "ops" }, frozen: true });
  });

  test("are not deleted while they own keys", async () => {
    const { login } = await person([]);
    await world.all(
      sql`insert into attune.key (ref, owner_type, owner, owner_identity, name, encrypted, value)
        select '', 'identity', '', id, 'mine', false, '"x"' from attune.identity where login = ${login}`,
    );
    await expect(commit(services, deleteIdentity, admin, { login })).rejects.toMatchObject(conflict);
  });

  test("do not freeze or delete themselves", async () => {
    const { session, login } = await person([everything]);
    const freeze = { login, expectedUpdated: null, patch: { frozen: true } };
    await expect(commit(services, updateIdentity, session, freeze)).rejects.toMatchObject(conflict);
    await expect(commit(services, deleteIdentity, session, { login })).rejects.toMatchObject(conflict);
  });
});

describe("the last administrator", () => {
  test("cannot be removed in any way, even by concurrent attempts", async () => {
    await using own = await createWorld();
    const { services: other, session: root } = own;
    const set = { ref: "default.all", grants: [everything] };
    await commit(other, createPermissionSet, root, set);
    await commitIdentity(other, root, { ...blank, login: "second", permissionSets: ["default.all"] });
    const drop = (login: string, permissionSet: string) =>
      commit(other, unassignPermissionSet, root, { login, permissionSet }).then(
        () => "done",
        (error: { code: string }) => error.code,
      );
    const both = await Promise.all([drop("admin", "core.admin"), drop("second", "default.all")]);
    expect(both.sort()).toEqual(["CONFLICT", "done"]);
    await commit(other, assignPermissionSet, root, { login: "second", permissionSet: "default.all" });
    expect(await drop("admin", "core.admin")).toMatch(/done|CONFLICT/);
    expect(await own.all(sql`select from attune.permission_assignment`)).not.toHaveLength(0);

    // Only `second` holds everything now, by a set created through the API.
    await own.all(sql`delete from attune.permission_assignment a using attune.permission_set s
      where s.id = a.permission_set and s.ref = 'core.admin'`);
    const narrow = { grants: [{ resource: "rule", actions: ["*"] }] };
    const freeze = (login: string) =>
      commit(other, updateIdentity, root, { login, expectedUpdated: null, patch: { frozen: true } });
    const change = { ref: "default.all", expectedUpdated: null, patch: narrow };
    await expect(commit(other, updatePermissionSet, root, change)).rejects.toMatchObject(conflict);
    await expect(commit(other, deletePermissionSet, root, { ref: "default.all" })).rejects.toMatchObject(conflict);
    await expect(freeze("second")).rejects.toMatchObject(conflict);
    await expect(commit(other, deleteIdentity, root, { login: "second" })).rejects.toMatchObject(conflict);

    // By a role as well.
    await commit(other, addPermissionSetToRole, root, { role: "chiefs", permissionSet: "core.admin" });
    await commit(other, assignRole, root, { login: "second", role: "chiefs" });
    await commit(other, updatePermissionSet, root, change);
    await expect(commit(other, unassignRole, root, { login: "second", role: "chiefs" })).rejects.toMatchObject(
      conflict,
    );
    const chiefsAdmin = { role: "chiefs", permissionSet: "core.admin" };
    await expect(commit(other, removePermissionSetFromRole, root, chiefsAdmin)).rejects.toMatchObject(conflict);
    await commit(other, assignPermissionSet, root, { login: "admin", permissionSet: "core.admin" });
    await commit(other, removePermissionSetFromRole, root, chiefsAdmin);
    await expect(freeze("second")).resolves.toEqual({ id: expect.any(BigInt) });
  });
});

describe("passwords and tokens", () => {
  test("changing one's own password requires the current one and ends the other sessions", async () => {
    const { login, session } = await person([], { password });
    const attempts = createAttempts();
    const options = { attempts, ip: null, requestId: "r" };
    const browser = await signIn(services, { login, password }, options);
    const elsewhere = await signIn(services, { login, password }, options);
    const { id } = await world.one<{ id: string }>(sql`select id::text from attune.identity where login = ${login}`);
    await write(services, (tx) => createSignInToken(tx, id));
    const change = (currentPassword: string | null, next = "another long password") =>
      commitPassword(services, browser.session, { login: null, currentPassword, password: next, attempts });
    await expect(change(null)).rejects.toMatchObject({ issues: [{ path: "currentPassword" }] });
    await expect(change("wrong")).rejects.toMatchObject({ issues: [{ path: "currentPassword" }] });
    await expect(change(password, "short")).rejects.toMatchObject({ issues: [{ path: "password" }] });
    await change(password);
    expect(await findSession(services.db, elsewhere.value)).toBeNull();
    expect(await findSession(services.db, browser.value)).not.toBeNull();
    expect(session.kind).toBe("api");
    const left = await world.all<{ kind: string }>(
      sql`select kind from attune.token where identity = ${id}::bigint and revoked_at is null order by kind`,
    );
    expect(left.map(({ kind }) => kind)).toEqual(["api", "session"]);
    await expect(signIn(services, { login, password }, options)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    for (let round = 0; round < 9; round += 1) await change("wrong").catch(() => {});
    await expect(change("another long password")).rejects.toMatchObject({ code: "RATE_LIMITED" });
  });

  test("a token ends when it expires or is revoked, and not after the token that created it", async () => {
    const { session, login } = await person(manager);
    const create = (by: Session, expiresAt: Date | null) =>
      commit(services, createApiToken, by, { login: null, label: "t", expiresAt, permissionSetRefs: null });
    const soon = new Date(Date.now() + 3600_000);
    await expect(create(session, new Date(Date.now() - 1000))).rejects.toMatchObject({
      issues: [{ path: "expiresAt" }],
    });
    const expiring = await create(session, soon);
    const by = await valid(expiring.value);
    await expect(create(by, null)).rejects.toMatchObject({ issues: [{ path: "expiresAt" }] });
    await expect(create(by, new Date(soon.getTime() + 1))).rejects.toMatchObject({ issues: [{ path: "expiresAt" }] });
    const child = await create(by, soon);
    await world.all(sql`update attune.token set expires_at = now() where id = ${String(expiring.id)}::bigint`);
    expect(await findSession(services.db, expiring.value ?? "")).toBeNull();

    const stranger = await person([{ resource: "rule", actions: ["*"] }]);
    const revoke = (who: Session) => commit(services, revokeApiToken, who, { id: child.id });
    await expect(revoke(stranger.session)).rejects.toMatchObject({ ...notFound, kind: "token" });
    const reader = await person([{ resource: "*", actions: ["read"] }]);
    await expect(revoke(reader.session)).rejects.toMatchObject(forbidden);
    await revoke(session);
    expect(await findSession(services.db, child.value ?? "")).toBeNull();
    const at = () =>
      world.one<{ at: string; by: string }>(
        sql`select t.revoked_at::text as at, i.login as by from attune.token t join attune.identity i on i.id = t.revoked_by
          where t.id = ${String(child.id)}::bigint`,
      );
    const first = await at();
    await commit(services, revokeApiToken, admin, { id: child.id });
    expect(await at()).toEqual(first);
    expect(first.by).toBe(login);
  });

  test("only the hash of a credential is stored", async () => {
    const { session } = await person(manager);
    const input = { login: null, label: "secret", expiresAt: null, permissionSetRefs: null };
    const { value = "" } = await commit(services, createApiToken, session, input);
    expect(value).toMatch(/^att_api_[\w-]{43}$/);
    const stored = JSON.stringify(
      await world.all(sql`select * from attune.token where label = 'secret'`),
      (_key, item) => (typeof item === "bigint" ? String(item) : item),
    );
    expect(stored).not.toContain(value.slice(13));
  });
});
