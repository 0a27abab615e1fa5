import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { createNetworks } from "../lib/network.ts";

/** Decides which hosts name this server, which pages may use it with their visitor's session, and from where requests come. */
export interface Origins {
  /** Whether a request's `Host` names this server. Anyone can make a domain name resolve to this address (DNS rebinding). */
  isOurHost(host: string | null): boolean;
  /** Whether the origin is listed, or is this server's own: the same as the request's host. */
  isTrusted(origin: string | null, host: string | null): boolean;
  /** Whether the origin is listed: its pages may also read responses. */
  isListed(origin: string | null): boolean;
  /** The address of a request's sender; null when its connection is closed. */
  addressOf(request: Pick<IncomingMessage, "socket" | "headers">): string | null;
}

export interface OriginOptions {
  /** The address on which the server listens. */
  host: string;
  /** Names, with or without a port, in lower case. */
  hosts: readonly string[];
  /** Exact origins of other pages. */
  corsOrigins: readonly string[];
  /** Addresses and networks of proxies whose `X-Forwarded-For` is believed. */
  trustedProxies: readonly string[];
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
export function createOrigins({ host, hosts, corsOrigins, trustedProxies }: OriginOptions): Origins {
  const listed = new Set(corsOrigins);
  const proxies = createNetworks(trustedProxies);
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
    addressOf: ({ socket, headers }) => {
      let address = plainAddress(socket.remoteAddress ?? "");
      // Each proxy appends the address that it saw. What stands left of the first one that is not a proxy was sent by that one.
      const hops = String(headers["x-forwarded-for"] ?? "").split(",");
      while (address !== null && proxies.has(address)) {
        const before = plainAddress(hops.pop() ?? "");
        if (before === null) break;
        address = before;
      }
      return address;
    },
  };
}

/** Returns the address without a port, a zone, and the notation of IPv4 in IPv6; null if it is none. */
function plainAddress(text: string): string | null {
  const [, bracketed, plain] = /^\s*(?:\[([^\]]+)\](?::\d+)?|([^\s[]+))\s*$/.exec(text) ?? [];
  const address = (bracketed ?? plain ?? "").replace(/^([\d.]+):\d+$/, "$1").replace(/%.*$/, "");
  return isIP(address) === 0 ? null : address.replace(/^::ffff:(?=[\d.]+$)/i, "");
}

/** Returns the name in a `Host` header without port and brackets; null if the header is malformed. */
export function hostname(host: string): string | null {
  const [, bracketed, plain] = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::\d{1,5})?$/i.exec(host) ?? [];
  return (bracketed ?? plain)?.toLowerCase() ?? null;
}
