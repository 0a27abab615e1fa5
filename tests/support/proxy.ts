import { once } from "node:events";
import { type AddressInfo, createServer, type Socket, connect as tcpConnect } from "node:net";

/**
 * What the network does: `pass` forwards at once, `delay` forwards half a second later, `silent` accepts connections and forwards
 * nothing (what was sent meanwhile is lost, so that these connections stay silent), `refuse` resets new connections.
 */
export type Network = "pass" | "delay" | "silent" | "refuse";

/** A TCP proxy between a client and a server, which can have faults. */
export interface NetworkProxy extends AsyncDisposable {
  /** The server's URL with the proxy's address. */
  url: string;
  become(network: Network): void;
  /** Cuts all connections, with a reset. */
  cut(): void;
  /** The number of open connections. */
  connections(): number;
  /** The number of open connections that have lost bytes in a silence, and stay silent. */
  lost(): number;
}

const delayMs = 500;

/** Starts a proxy for the server of a URL such as `postgres://…`. */
export async function createProxy(target: string): Promise<NetworkProxy> {
  const { hostname, port } = new URL(target);
  let network: Network = "pass";
  const pairs = new Set<{ client: Socket; server: Socket; lost: boolean }>();

  const listener = createServer({ noDelay: true }, (client) => {
    client.on("error", () => {}); // resets are what this is for
    if (network === "refuse") return void client.resetAndDestroy();
    const server = tcpConnect({ host: hostname, port: Number(port), noDelay: true });
    server.on("error", () => {});
    const pair = { client, server, lost: network === "silent" };
    pairs.add(pair);
    forward(pair, client, server);
    forward(pair, server, client);
  });

  function forward(pair: { lost: boolean }, from: Socket, to: Socket) {
    let delayed = 0;
    const send = (write: () => void) => {
      pair.lost ||= network === "silent";
      if (pair.lost) return;
      // Bytes keep their order: none overtakes those that are still delayed.
      if (network !== "delay" && delayed === 0) return write();
      delayed += 1;
      setTimeout(() => {
        delayed -= 1;
        if (!pair.lost) write();
      }, delayMs);
    };
    from.on("data", (bytes) => send(() => to.write(bytes)));
    from.on("close", () => {
      for (const each of pairs) if (each === pair && to.destroyed) pairs.delete(each);
      if (pair.lost && network === "silent") return; // a network that is gone does not tell the other side
      to.destroy();
    });
  }

  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const url = new URL(target);
  url.host = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  const cut = () => {
    for (const { client, server } of pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
    pairs.clear();
  };
  return {
    url: url.href,
    become: (next) => {
      network = next;
    },
    cut,
    connections: () => [...pairs].filter(({ client }) => !client.destroyed).length,
    lost: () => [...pairs].filter(({ client, lost }) => lost && !client.destroyed).length,
    [Symbol.asyncDispose]: async () => {
      cut();
      listener.close();
      await once(listener, "close");
    },
  };
}
