import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { NoRoomError, StartError } from "../errors.ts";
import { startLoop } from "../lib/loop.ts";
import type { Log } from "../log.ts";

/**
 * The room for new work on the disk of an embedded database, which does not survive a full disk without a restart. Work that is under
 * way may use the reserve.
 */
export interface Room extends AsyncDisposable {
  /** Returns the free bytes at the last measurement; null where the database has its own server. */
  free(): number | null;
  /** Returns why there is no room for new work; null when there is. */
  shortage(): string | null;
  /** Returns whether there will soon be none: less than twice the reserve is free. */
  isLow(): boolean;
  /** Throws NoRoomError when there is no room for new work. */
  require(): void;
}

const everyMs = 1000;
const MiB = 1024 * 1024;
/** With less, opening the database could fill the disk: recovery writes segments of 16 MiB. */
const leastToOpen = 64 * MiB;

/** Returns the room of a database that has its own server, which refuses by itself what it cannot store. */
export function unlimitedRoom(): Room {
  return {
    free: () => null,
    shortage: () => null,
    isLow: () => false,
    require: () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}

/**
 * Watches the free space of the directory's disk, so that work stops when less than `reserve` bytes are free, and goes on when there is
 * room again. Throws StartError when there is too little to open a database.
 */
export async function watchRoom(directory: string, reserve: number, log: Log): Promise<Room> {
  const path = resolve(directory);
  const wanted = `less than the ${inMiB(reserve)} of ATTUNE__DATABASE__RESERVE_MB`;
  let free = await freeBytes(path);
  if (free < Math.min(reserve, leastToOpen)) {
    throw new StartError(
      `The disk of ${directory} has ${inMiB(free)} free, ${wanted}: free some space, and start again.`,
    );
  }
  const shortage = () => (free < reserve ? `the disk of the database has ${inMiB(free)} free, ${wanted}` : null);
  let reported = false;
  const report = () => {
    const reason = shortage();
    if ((reason !== null) === reported) return;
    reported = reason !== null;
    if (reason === null) log.info({ free }, "the disk has room again: going on");
    else log.error({ free, reserve }, `${reason}: no new work is taken`);
  };
  report();
  const watching = startLoop({
    pass: async () => {
      free = await freeBytes(path);
      report();
      return everyMs;
    },
    failed: (error) => log.error({ err: error }, "measuring the free space of the disk"),
  });
  return {
    free: () => free,
    shortage,
    isLow: () => free < 2 * reserve,
    require: () => {
      const reason = shortage();
      if (reason !== null) throw new NoRoomError(reason);
    },
    [Symbol.asyncDispose]: () => watching[Symbol.asyncDispose](),
  };
}

const inMiB = (bytes: number) => `${Math.floor(bytes / MiB)} MiB`;

/** Returns what this user may still write on the disk of a directory that may not exist yet, in bytes. */
async function freeBytes(path: string): Promise<number> {
  const existing = existsSync(path) || dirname(path) === path ? path : dirname(path);
  if (existing !== path && !existsSync(existing)) return await freeBytes(existing);
  const { bavail, bsize } = await statfs(existing);
  return bavail * bsize;
}
