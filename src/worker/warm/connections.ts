import { chownSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import type { ProcessSpec } from "../../process/start.ts";

const helloMs = 5_000;
const longestHello = 100;

/** The connections that a forked process uses as its stdin, stdout and stderr; a new process has the same kind. */
export interface Arrival {
  pid: number;
  /** By the number of the stream. */
  sockets: ReadonlyMap<number, Socket>;
}

/** Where forked processes connect. */
export interface Connections extends Disposable {
  address: string;
  /** Resolves when the process that knows the token has made all its connections. `cancel` closes those that came. */
  expect(token: string, streams: readonly number[]): { arrived: Promise<Arrival>; cancel(): void };
}

/** Listens at a path that only this user, or the user of actions, can connect to. Rejects when the path is too long for the system. */
export async function openConnections(address: string, runAs: ProcessSpec["runAs"]): Promise<Connections> {
  const expected = new Map<string, (stream: number, pid: number, socket: Socket) => void>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {}); // the process has ended
    socket.setTimeout(helloMs, () => socket.destroy());
    let hello = "";
    const read = () => {
      for (let next = socket.read(1); next !== null; next = socket.read(1)) {
        if (String(next) === "\n") return arrive();
        hello += String(next);
        if (hello.length > longestHello) return socket.destroy();
      }
      return socket;
    };
    const arrive = () => {
      socket.off("readable", read);
      socket.setTimeout(0);
      const [token = "", stream, pid] = hello.split(" ");
      const take = expected.get(token);
      if (take) take(Number(stream), Number(pid), socket);
      else socket.destroy();
      return socket;
    };
    socket.on("readable", read);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address, resolve);
  });
  server.unref();
  if (runAs != null) chownSync(address, runAs.uid, runAs.gid);
  return {
    address,
    expect: (token, streams) => {
      const sockets = new Map<number, Socket>();
      const { promise, resolve } = Promise.withResolvers<Arrival>();
      expected.set(token, (stream, pid, socket) => {
        sockets.set(stream, socket);
        if (sockets.size < streams.length) return;
        expected.delete(token);
        resolve({ pid, sockets });
      });
      const cancel = () => {
        expected.delete(token);
        for (const socket of sockets.values()) socket.destroy();
      };
      return { arrived: promise, cancel };
    },
    [Symbol.dispose]: () => void server.close(),
  };
}
