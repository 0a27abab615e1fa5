import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAttempts } from "../../src/access/attempts.ts";
import { credentialOf } from "../../src/access/cookie.ts";
import { updateIdentity } from "../../src/access/identity.ts";
import { createOrigins } from "../../src/access/origin.ts";
import { createSessions, findSession, type Sessions } from "../../src/access/sessions.ts";
import { signIn, signInByLink, signOut } from "../../src/access/sign-in.ts";
import { createSignInToken } from "../../src/access/token.ts";
import { write } from "../../src/db/tx.ts";
import { createGraphQL } from "../../src/graphql/transport/server.ts";
import { type HttpServer, startHttp } from "../../src/http/server.ts";
import { createFeed, type Feed } from "../../src/notifier/feed.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { commit, commitIdentity } from "../support/commit.ts";
import type { TestServices } from "../support/database.ts";
import { createWorld, type World } from "../support/world.ts";

const password = "correct horse battery";
const day = 24 * 3600_000;

let world: World;
let services: TestServices;
let sessions: Sessions;
let feed: Feed;
let api: HttpServer;

beforeAll(async () => {
  world = await createWorld();
  services = world.services;
  sessions = createSessions(services.db, services.log);
  feed = await createFeed(services);
  const keyed = { ...services, keyring: createKeyring(Buffer.alloc(32, 1)) };
  const origins = createOrigins({ host: "127.0.0.1", hosts: [], corsOrigins: [], trustedProxies: [] });
  const attempts = createAttempts();
  const graphql = createGraphQL({
    services: keyed,
    feed,
    sessions,
    origins,
    attempts,
    authenticate: async (credentials) => {
      const credential = credentialOf(credentials);
      return credential === null ? null : await sessions.find(credential);
    },
  });
  api = await startHttp({
    services: keyed,
    host: "127.0.0.1",
    port: 0,
    origins,
    attempts,
    graphql: (request, response, context) => graphql(request, response, context),
    attachSockets: () => ({ [Symbol.asyncDispose]: async () => {} }),
  });
  await Promise.all(["ada", "bob", "eve"].map(createUser));
});

afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await sessions[Symbol.asyncDispose]();
  await feed[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

async function createUser(login: string): Promise<void> {
  const fields = { displayName: null, attributes: {}, roles: [], permissionSets: [] };
  await commitIdentity(services, world.session, { ...fields, login, password });
}

interface Entry {
  event: string;
  outcome: string;
  login: string | null;
  actor: string | null;
  ref: string | null;
  ip: string | null;
  details: { reason: string } | null;
}

/** The sign-in entries of a request in the audit trail. */
const trail = (requestId: string) =>
  world.all<Entry>(
    sql`select event_type as event, outcome::text, actor_login as login, actor::text, resource_ref as ref, host(ip) as ip, details
      from attune.audit_event where request_id = ${requestId} and category = 'sign_in' order by id`,
  );

let requests = 0;
function from(attempts = createAttempts(), ip = "192.0.2.1") {
  requests += 1;
  return { attempts, ip, requestId: `request ${requests}` };
}

describe("signing in", () => {
  test("by password starts a session of thirty days and leaves an entry in the audit trail", async () => {
    const options = from();
    const { value, expiresAt, session } = await signIn(services, { login: "ada", password }, options);
    expect(await findSession(services.db, value)).toMatchObject({ login: "ada", kind: "session" });
    expect(Math.abs(expiresAt.getTime() - Date.now() - 30 * day)).toBeLessThan(60_000);
    expect(await trail(options.requestId)).toEqual([
      {
        event: "signIn",
        outcome: "success",
        login: "ada",
        actor: String(session.identityId),
        ref: "ada",
        ip: "192.0.2.1",
        details: null,
      },
    ]);
    const stored = await world.all(
      sql`select from attune.token where token_hash = ${value} or prefix is not null and kind = 'session'`,
    );
    expect(stored).toEqual([]);
  });

  test.each([
    ["the password is wrong", { login: "ada", password: "not her password" }, "ada"],
    ["there is no such login", { login: "nobody", password }, "nobody"],
    ["it has no password", { login: "admin", password }, "admin"],
    ["there is no such login", { login: "' or 1 = 1 --", password }, null],
    ["there is no such login", { login: "a password by mistake", password }, null],
  ])("is refused with the same message when %s", async (reason, input, login) => {
    const options = from();
    await expect(signIn(services, input, options)).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      message: "The login or the password is wrong.",
    });
    expect(await trail(options.requestId)).toEqual([
      { event: "signIn", outcome: "denied", login, actor: null, ref: login, ip: "192.0.2.1", details: { reason } },
    ]);
  });

  test("is refused to a frozen identity until it is unfrozen", async () => {
    const freeze = (frozen: boolean) =>
      commit(services, updateIdentity, world.session, { login: "bob", expectedUpdated: null, patch: { frozen } });
    const { value } = await signIn(services, { login: "bob", password }, from());
    await freeze(true);
    const options = from();
    await expect(signIn(services, { login: "bob", password }, options)).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
    });
    expect(await trail(options.requestId)).toMatchObject([{ outcome: "denied", details: { reason: "it is frozen" } }]);
    expect(await findSession(services.db, value)).toBeNull();
    await freeze(false);
    expect(await findSession(services.db, value)).not.toBeNull();
  });

  test("by link works once, for one of several concurrent attempts", async () => {
    const token = await write(services, (tx) => createSignInToken(tx, String(world.session.identityId)));
    const all = Array.from({ length: 5 }, () => from());
    const results = await Promise.allSettled(all.map((options) => signInByLink(services, { token }, options)));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const entries = (await Promise.all(all.map(({ requestId }) => trail(requestId)))).flat();
    expect(entries.map(({ event, outcome }) => `${event} ${outcome}`).sort()).toEqual([
      ...Array.from({ length: 4 }, () => "signInByLink denied"),
      "signInByLink success",
    ]);
  });

  test("is limited after ten failures from an address, even with the right password, which the audit trail records once", async () => {
    const attempts = createAttempts();
    const guess = (word: string, options = from(attempts)) =>
      signIn(services, { login: "eve", password: word }, options).then(
        () => "in",
        (error: { code: string }) => error.code,
      );
    const guesses = await Promise.all(Array.from({ length: 14 }, (_, index) => guess(`guess number ${index}`)));
    expect(guesses.filter((code) => code === "UNAUTHENTICATED")).toHaveLength(10);
    expect(guesses.filter((code) => code === "RATE_LIMITED")).toHaveLength(4);
    const late = from(attempts);
    await expect(signIn(services, { login: "eve", password }, late)).rejects.toMatchObject({
      code: "RATE_LIMITED",
      retryAfterSeconds: expect.any(Number),
    });
    expect(await trail(late.requestId)).toEqual([]);
    const recorded = await world.all(
      sql`select from attune.audit_event where details ->> 'reason' = 'too many attempts have failed' and actor_login = 'eve'`,
    );
    expect(recorded).toHaveLength(1);
    expect(await signIn(services, { login: "ada", password }, from(attempts))).toMatchObject({
      session: { login: "ada" },
    });
  });

  test("the failures of others lock out neither a login's owner nor anyone else behind the same address", async () => {
    const attempts = createAttempts();
    const outcome = (login: string, word: string, ip: string) =>
      signIn(services, { login, password: word }, from(attempts, ip)).then(
        () => "in",
        (error: { code: string }) => error.code,
      );
    const guesses = Array.from({ length: 24 }, (_, index) =>
      outcome(index % 2 ? "eve" : `other${index}`, "a guess", "192.0.2.9"),
    );
    expect(await Promise.all(guesses)).toContain("RATE_LIMITED");
    expect(await outcome("eve", password, "192.0.2.9")).toBe("RATE_LIMITED");
    expect(await outcome("eve", password, "192.0.2.10")).toBe("in");
    expect(await outcome("bob", password, "192.0.2.9")).toBe("in");
  });

  test("by link is not refused, however many attempts from its address have failed", async () => {
    const attempts = createAttempts();
    const tries = Array.from({ length: 40 }, () => signInByLink(services, { token: "a guess" }, from(attempts)));
    for (const tried of await Promise.allSettled(tries)) {
      expect(tried).toMatchObject({ status: "rejected", reason: { code: "UNAUTHENTICATED" } });
    }
    const token = await write(services, (tx) => createSignInToken(tx, String(world.session.identityId)));
    expect(await signInByLink(services, { token }, from(attempts))).toMatchObject({ session: { login: "admin" } });
  });

  test("attempts at what does not exist do not fill the audit trail, those at a login of the server stay in it", async () => {
    const attempts = createAttempts();
    const ip = "192.0.2.77";
    const guess = (login: string) =>
      signIn(services, { login, password: "a guess" }, from(attempts, ip)).catch(() => {});
    const link = () => signInByLink(services, { token: "a guess" }, from(attempts, ip)).catch(() => {});
    for (let round = 0; round < 20; round += 1) await Promise.all([guess(`nobody${round}`), guess("nobody"), link()]);
    const count = () =>
      world.one<{ count: number }>(sql`select count(*)::int as count from attune.audit_event where host(ip) = ${ip}`);
    expect(await count()).toEqual({ count: 31 });
    await guess("ada");
    expect(await count()).toEqual({ count: 32 });
  });

  test("and signing out ends the session, or all of them", async () => {
    const begin = () => signIn(services, { login: "ada", password }, from());
    const [one, two, three] = [await begin(), await begin(), await begin()];
    expect(await commit(services, signOut, one.session, { everywhere: false })).toEqual({ ended: 1 });
    expect(await findSession(services.db, one.value)).toBeNull();
    expect(await findSession(services.db, two.value)).not.toBeNull();
    const { ended } = await commit(services, signOut, two.session, { everywhere: true });
    expect(ended).toBeGreaterThanOrEqual(2);
    expect(await findSession(services.db, three.value)).toBeNull();
    const token = { ...two.session, kind: "api" as const };
    await expect(commit(services, signOut, token, { everywhere: true })).rejects.toMatchObject({ code: "CONFLICT" });
  });
});

describe("a session in use", () => {
  const aged = (id: bigint, left: string) =>
    world.all(
      sql`update attune.token set expires_at = now() + ${left}::interval, last_used_at = now() - interval '1 hour'
        where id = ${String(id)}::bigint`,
    );
  const stored = (id: bigint) =>
    world.one<{ used: string; left: number }>(
      sql`select last_used_at::text as used, extract(epoch from expires_at - now())::float8 as left
        from attune.token where id = ${String(id)}::bigint`,
    );

  test("is extended at most once a day, and its use recorded at most once a minute", async () => {
    const { value, session } = await signIn(services, { login: "ada", password }, from());
    const findExtended = async () => {
      sessions.refresh();
      const found = await sessions.find(value);
      if (!found) throw new Error("the session has ended");
      return sessions.wasExtended(found);
    };
    const { used } = await stored(session.tokenId);
    expect(await findExtended()).toBe(false);
    expect((await stored(session.tokenId)).used).toBe(used); // signing in counted as a use

    await aged(session.tokenId, "29 days 1 hour");
    expect(await findExtended()).toBe(false);
    expect((await stored(session.tokenId)).left).toBeLessThan((29 * day + 2 * 3600_000) / 1000);

    await aged(session.tokenId, "28 days");
    expect(await findExtended()).toBe(true);
    expect((await stored(session.tokenId)).left).toBeGreaterThan((29.9 * day) / 1000);
    expect(await findExtended()).toBe(false);
  });

  test("renews the browser's cookie when it is extended; a revoked session is not extended", async () => {
    const { value, session } = await signIn(services, { login: "ada", password }, from());
    const ask = async () => {
      sessions.refresh();
      const response = await fetch(`${api.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", cookie: `attune_session=${value}`, origin: api.url },
        body: JSON.stringify({ query: "{ viewer { identity { login } } }" }),
      });
      return { body: await response.json(), cookie: response.headers.get("set-cookie") };
    };
    const me = { data: { viewer: { identity: { login: "ada" } } } };
    expect(await ask()).toEqual({ body: expect.objectContaining(me), cookie: null });
    await aged(session.tokenId, "2 days");
    expect(await ask()).toEqual({
      body: expect.objectContaining(me),
      cookie: `attune_session=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000`,
    });
    await aged(session.tokenId, "2 days");
    await commit(services, signOut, session, { everywhere: false });
    expect(await ask()).toMatchObject({
      body: { errors: [{ extensions: { code: "UNAUTHENTICATED" } }] },
      cookie: null,
    });
    expect((await stored(session.tokenId)).left).toBeLessThan((3 * day) / 1000);
  });
});
