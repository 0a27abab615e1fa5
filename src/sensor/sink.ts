import { setTimeout as sleep } from "node:timers/promises";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import type { Persist } from "../process/persist.ts";
import type { Mask } from "../secrecy/mask.ts";
import { type Stored, storeLines } from "./emit.ts";
import type { Lease } from "./lease.ts";
import { type Line, readLines } from "./lines.ts";
import type { Logger } from "./logger.ts";

/** How many lines are stored in one transaction. */
const batch = 100;
/** The pause while the disk has no room for events. */
const shortageMs = 1000;

/** Stores the events that a sensor writes. */
export interface Sink {
  /** Stores the events of stdout, which is read only as fast as they are stored; resolves at its end. */
  follow(stdout: AsyncIterable<Buffer>): Promise<void>;
  /** Returns whether events wait to be stored. */
  isStoring(): boolean;
}

/** Creates the sink of one run of a sensor. It calls `lost` when the lease is no longer valid, and then stores nothing. */
export function createSink(
  services: Services,
  {
    lease,
    ref,
    mask,
    persist,
    log,
    stopping,
    lost,
  }: {
    lease: Lease;
    ref: string;
    mask: Mask | null;
    persist: Persist;
    log: Logger;
    stopping: AbortSignal;
    lost: () => void;
  },
): Sink {
  let isStoring = false;
  const tryLines = (lines: readonly Line[]) =>
    persist(() => write(services, (tx) => storeLines(tx, { lease, ref, mask }, lines)));

  /** Lines that the database refuses together are stored one by one: a bad one stops none of the others. */
  async function store(lines: readonly Line[]): Promise<Stored | null> {
    try {
      return await tryLines(lines);
    } catch (error) {
      const [first, ...rest] = lines;
      if (first === undefined) return { events: 0, faults: [] };
      if (rest.length === 0) {
        services.log.error({ err: error, sensor: ref }, "an event of a sensor could not be stored");
        return { events: 0, faults: [`stdout, line ${first.number}: could not be stored`] };
      }
      const all: Stored = { events: 0, faults: [] };
      for (const line of lines) {
        const stored = await store([line]);
        if (stored === null) return null;
        all.events += stored.events;
        all.faults.push(...stored.faults);
      }
      return all;
    }
  }
  async function take(lines: readonly Line[]): Promise<boolean> {
    // What it wrote before it was stopped may use the reserve.
    while (services.room.shortage() !== null && !stopping.aborted) await sleep(shortageMs);
    const stored = await store(lines);
    if (stored === null) return false;
    for (const fault of stored.faults) log.report(fault);
    return true;
  }
  return {
    isStoring: () => isStoring,
    follow: async (stdout) => {
      for await (const lines of readLines(stdout)) {
        isStoring = true;
        try {
          for (let at = 0; at < lines.length; at += batch) {
            if (!(await take(lines.slice(at, at + batch)))) return lost();
          }
        } finally {
          isStoring = false;
        }
      }
    },
  };
}
