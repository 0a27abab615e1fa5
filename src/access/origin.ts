import { isIP } from "node:net";

/** Which names lead to this server, and which pages act for whoever has them open. */
export interface Origins {
  /** Whether a request's `Host` names this server: names that others own may be made to lead here too. */
  isOurHost(host: string | null): boolean;
  /** Whether a page of that origin is our own, asking the host that it came from, or listed. */
  isTrusted(origin: string | null, host: string | null): boolean;
  /** Whether the origin is listed: its pages may read answers, too. */
  isListed(origin: string | null): boolean;
}

export interface OriginOptions {
  /** The address that is listened on. */
  host: string;
  /** Names, with or without a port, in lower case. */
  hosts: readonly string[];
  /** Exact origins of other pages. */
  corsOrigins: readonly string[];
}

/** What a request is told that addresses the server by a name that is not its own. */
export const notOurHost = "This server does not go by that name: list it in ATTUNE__SERVER__HOSTS.";

/** The names of this machine for itself. */
export const loopback: ReadonlySet<string> = new Set(["127.0.0.1", "localhost", "::1"]);
const wildcards = new Set(["0.0.0.0", "::"]);

/**
 * This machine's names for itself and the address listened on are ours, and so are the configured names. Where every address is
 * listened on and no name is configured, any IP address is: nobody can make an address lead elsewhere, as one can a name.
 */
export function createOrigins({ host, hosts, corsOrigins }: OriginOptions): Origins {
  const listed = new Set(corsOrigins);
  const anyAddress = wildcards.has(host) && hosts.length === 0;
  const isListed = (origin: string | null) => origin !== null && listed.has(origin);
  return {
    isListed,
    isTrusted: (origin, asked) =>
      isListed(origin) ||
      (origin !== null && asked !== null && URL.canParse(origin) && new URL(origin).host === asked.toLowerCase()),
    isOurHost: (asked) => {
      const name = asked === null ? null : hostname(asked);
      if (asked === null || name === null) return false;
      if (loopback.has(name) || name === host.toLowerCase()) return true;
      return hosts.includes(name) || hosts.includes(asked.toLowerCase()) || (anyAddress && isIP(name) !== 0);
    },
  };
}

/** The name in a `Host` header, without its port and brackets; null when it is none. */
export function hostname(host: string): string | null {
  const [, bracketed, plain] = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::\d{1,5})?$/i.exec(host) ?? [];
  return (bracketed ?? plain)?.toLowerCase() ?? null;
}
