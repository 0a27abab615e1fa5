import { sql } from "drizzle-orm";
import { openSession, type Session } from "../../src/access/session.ts";
import { createSessions } from "../../src/access/sessions.ts";
import { createGraphQL, type GraphQLOptions } from "../../src/graphql/transport/server.ts";
import { createFeed } from "../../src/notifier/feed.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import type { TestServices } from "./database.ts";

export interface Result {
  // biome-ignore lint/suspicious/noExplicitAny: responses have the shape of their documents
  data?: any;
  errors?: { message: string; path?: (string | number)[]; extensions: Record<string, unknown> }[];
  extensions?: Record<string, unknown>;
}

/** The API in this process. */
export interface Api extends AsyncDisposable {
  /** Runs a document as that session; null: anonymously. */
  ask(session: Session | null, query: string, variables?: object): Promise<Result & { requestId: string | null }>;
  /** Sends a body unchanged. */
  send(session: Session | null, body: string, headers?: Record<string, string>): Promise<Response>;
}

/** Creates the API over an engine, with sessions that the tests construct. */
export async function createApi(services: TestServices, options: Partial<GraphQLOptions> = {}): Promise<Api> {
  const feed = await createFeed(services);
  const sessions = createSessions(services.db, services.log);
  const known = new Map<string, Session>();
  const yoga = createGraphQL({
    services: { ...services, keyring: createKeyring(Buffer.alloc(32, 1)) },
    feed,
    sessions,
    authenticate: async ({ authorization }) => known.get(authorization ?? "") ?? null,
    ...options,
  });
  const send: Api["send"] = async (session, body, headers = {}) => {
    if (session) known.set(nameOf(session), session);
    return await yoga.fetch("http://localhost/graphql", {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(session ? { authorization: nameOf(session) } : {}),
        ...headers,
      },
      body,
    });
  };
  return {
    send,
    ask: async (session, query, variables = {}) => {
      const response = await send(session, JSON.stringify({ query, variables }));
      return { ...((await response.json()) as Result), requestId: response.headers.get("x-request-id") };
    },
    [Symbol.asyncDispose]: async () => {
      await sessions[Symbol.asyncDispose]();
      await feed[Symbol.asyncDispose]();
    },
  };
}

const names = new WeakMap<Session, string>();
let namedSessions = 0;

function nameOf(session: Session): string {
  const name = names.get(session) ?? `session ${++namedSessions}`;
  names.set(session, name);
  return name;
}

/** Creates an identity and returns its session, by default with every grant. */
export async function createPerson(
  services: TestServices,
  login: string,
  grants: Partial<Pick<Session, "grants" | "roles">> = {},
): Promise<Session> {
  await services.db.execute(sql`insert into attune.identity (login) values (${login})`);
  const found = await services.db.query.identities.findFirst({ where: { login }, columns: { id: true } });
  return { ...openSession(String(found?.id)), login, ...grants };
}
