import { isIP } from "node:net";

/** Decides which hosts name this server and which pages may use it with their visitor's session. */
export interface Origins {
  /** Whether a request's `Host` names this server. Anyone can make a domain name resolve to this address (DNS rebinding). */
  isOurHost(host: string | null): boolean;
  /** Whether the origin is listed, or is this server's own: the same as the request's host. */
  isTrusted(origin: string | null, host: string | null): boolean;
  /** Whether the origin is listed: its pages may also read responses. */
  isListed(origin: string | null): boolean;
}

export interface OriginOptions {
  /** The address on which the server listens. */
  host: string;
  /** Names, with or without a port, in lower case. */
  hosts: readonly string[];
  /** Exact origins of other pages. */
  corsOrigins: readonly string[];
}

/** The refusal of a request whose `Host` does not name this server. */
export const notOurHost = "The Host header does not name this server: list the name in ATTUNE__SERVER__HOSTS.";

/** The loopback names of this machine. */
export const loopback: ReadonlySet<string> = new Set(["127.0.0.1", "localhost", "::1"]);
const wildcards = new Set(["0.0.0.0", "::"]);

/**
 * Returns the server's rules for hosts and origins. Its hosts are the loopback names, the address on which it listens, and the
 * configured names. When it listens on every address and no name is configured, any IP address is allowed, because DNS rebinding needs
 * a name.
 */
export function createOrigins({ host, hosts, corsOrigins }: OriginOptions): Origins {
  const listed = new Set(corsOrigins);
  const anyAddress = wildcards.has(host) && hosts.length === 0;
  const isListed = (origin: string | null) => origin !== null && listed.has(origin);
  return {
    isListed,
    isTrusted: (origin, header) =>
      isListed(origin) ||
      (origin !== null && header !== null && URL.canParse(origin) && new URL(origin).host === header.toLowerCase()),
    isOurHost: (header) => {
      const name = header === null ? null : hostname(header);
      if (header === null || name === null) return false;
      if (loopback.has(name) || name === host.toLowerCase()) return true;
      return hosts.includes(name) || hosts.includes(header.toLowerCase()) || (anyAddress && isIP(name) !== 0);
    },
  };
}

/** Returns the name in a `Host` header without port and brackets; null if the header is malformed. */
export function hostname(host: string): string | null {
  const [, bracketed, plain] = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::\d{1,5})?$/i.exec(host) ?? [];
  return (bracketed ?? plain)?.toLowerCase() ?? null;
}
