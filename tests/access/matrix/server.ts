import type { Session } from "../../../src/access/session.ts";
import { createSessions } from "../../../src/access/sessions.ts";
import { createGraphQL } from "../../../src/graphql/transport/server.ts";
import { createLog } from "../../../src/log.ts";
import { createFeed } from "../../../src/notifier/feed.ts";
import { createKeyring } from "../../../src/secrecy/keyring.ts";
import type { TestServices } from "../../support/database.ts";
import type { Role } from "./roles.ts";

export interface Failure {
  message: string;
  path?: (string | number)[];
  extensions: { code: string };
}

/** A response of the API; its data has the shape that the document selects. */
export interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: the document determines the shape of the data
  data: any;
  errors?: Failure[];
}

/** The API, called with a role; null is an anonymous caller. */
export interface Server extends AsyncDisposable {
  ask(role: Role | null, query: string, variables?: object): Promise<Answer>;
  /** Collects the messages of a subscription as they arrive. */
  follow(role: Role | null, query: string): Promise<Follower>;
}

export interface Follower {
  seen: Answer[];
  stop(): void;
}

/** The roles of the calling identity. */
export const roles: readonly string[] = ["on_call"];

/** Creates the API over that engine; roles are identified by their names. */
export async function createServer(services: TestServices): Promise<Server> {
  const log = createLog({ level: "error", format: "json" });
  const feed = await createFeed(services);
  const sessions = createSessions(services.db, log);
  const known = new Map<string, Session>();
  const yoga = createGraphQL({
    services: { ...services, log, keyring: createKeyring(Buffer.alloc(32, 1)) },
    feed,
    sessions,
    authenticate: async ({ authorization }) => known.get(authorization ?? "") ?? null,
  });
  const send = async (role: Role | null, body: object, accept: string, signal?: AbortSignal) => {
    if (role) known.set(role.name, sessionOf(role));
    return await yoga.fetch("http://localhost/graphql", {
      method: "POST",
      headers: { "content-type": "application/json", accept, ...(role ? { authorization: role.name } : {}) },
      body: JSON.stringify(body),
      ...(signal ? { signal } : {}),
    });
  };
  return {
    ask: async (role, query, variables = {}) => {
      const response = await send(role, { query, variables }, "application/json");
      return (await response.json()) as Answer;
    },
    follow: async (role, query) => {
      const ended = new AbortController();
      const response = await send(role, { query }, "text/event-stream", ended.signal);
      const seen: Answer[] = [];
      void collect(response, seen, ended.signal);
      return { seen, stop: () => ended.abort() };
    },
    [Symbol.asyncDispose]: async () => {
      await sessions[Symbol.asyncDispose]();
      await feed[Symbol.asyncDispose]();
    },
  };
}

async function collect(response: Response, seen: Answer[], signal: AbortSignal): Promise<void> {
  let rest = "";
  try {
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const blocks = `${rest}${chunk}`.split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const data = /^data: ?(.+)$/m.exec(block)?.[1];
        if (data) seen.push(JSON.parse(data) as Answer);
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error; // cut by `stop`
  }
}

function sessionOf({ identity, grants }: Role): Session {
  return {
    identityId: BigInt(identity),
    login: "me",
    tokenId: 0n,
    kind: "api",
    expiresAt: null,
    grants,
    roles,
    narrowed: false,
    executionId: null,
  };
}
