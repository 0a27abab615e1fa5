import type { WebSocket } from "ws";

/** How many sockets there may be, and how long one may be open without a valid credential, in milliseconds. */
export interface PlaceLimits {
  total: number;
  perAddress: number;
  unknownMs: number;
}

export const placeLimits: PlaceLimits = { total: 10_000, perAddress: 2000, unknownMs: 60_000 };

/** The close code of graphql-ws for a connection that was not initialised in time. */
const tooLate = [4408, "No operation with a valid credential"] as const;

/** The sockets that are open. Those that have shown no valid credential give way to others, the longest open first. */
export interface SocketPlaces extends Disposable {
  /** Returns whether there is a place for a socket of that address; closes another socket for it if need be. */
  makeRoom(address: string): boolean;
  add(socket: WebSocket, address: string): void;
  /** The socket has shown a valid credential. */
  keep(socket: WebSocket): void;
}

/** Creates the register of a server's sockets. */
export function createSocketPlaces(limits: PlaceLimits = placeLimits): SocketPlaces {
  const counts = new Map<string, number>();
  /** In the order in which they were opened. */
  const unknown = new Map<WebSocket, { address: string; since: number }>();
  let total = 0;

  function giveWay(isEligible: (address: string) => boolean): boolean {
    for (const [socket, { address }] of unknown) {
      if (!isEligible(address)) continue;
      socket.terminate();
      remove(socket, address);
      return true;
    }
    return false;
  }

  const open = new Set<WebSocket>();
  function remove(socket: WebSocket, address: string): void {
    unknown.delete(socket);
    if (!open.delete(socket)) return;
    total -= 1;
    const count = (counts.get(address) ?? 1) - 1;
    if (count > 0) counts.set(address, count);
    else counts.delete(address);
  }

  const checking = setInterval(() => {
    for (const [socket, { since }] of unknown) {
      if (performance.now() - since < limits.unknownMs) return;
      unknown.delete(socket);
      socket.close(...tooLate);
    }
  }, limits.unknownMs / 10);

  return {
    makeRoom: (address) => {
      if ((counts.get(address) ?? 0) >= limits.perAddress && !giveWay((other) => other === address)) return false;
      return total < limits.total || giveWay(() => true);
    },
    add: (socket, address) => {
      total += 1;
      open.add(socket);
      counts.set(address, (counts.get(address) ?? 0) + 1);
      unknown.set(socket, { address, since: performance.now() });
      socket.once("close", () => remove(socket, address));
    },
    keep: (socket) => unknown.delete(socket),
    [Symbol.dispose]: () => clearInterval(checking),
  };
}
