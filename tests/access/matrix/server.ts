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

/** What was answered; an object is read as the document that asked for it. */
export interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: answers are read like the documents that ask for them
  data: any;
  errors?: Failure[];
}

/** The API, asked by whoever a role is; null is nobody. */
export interface Server extends AsyncDisposable {
  ask(role: Role | null, query: string, variables?: object): Promise<Answer>;
  /** The messages of a subscription, as they come. */
  follow(role: Role | null, query: string): Promise<Follower>;
}

export interface Follower {
  seen: Answer[];
  stop(): void;
}

/** The roles of the identity that asks. */
export const roles: readonly string[] = ["on_call"];

/** The API over that engine; roles are told apart by their names. */
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
