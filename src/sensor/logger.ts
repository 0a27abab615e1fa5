import { StringDecoder } from "node:string_decoder";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { createRest } from "../lib/loop.ts";
import type { Persist } from "../process/persist.ts";
import type { Mask } from "../secrecy/mask.ts";
import type { Lease } from "./lease.ts";
import { appendSensorLog, type NewEntry } from "./log.ts";

/** Entries are stored at most this often, in milliseconds; what arrives meanwhile of one stream is one entry of up to this length. */
const everyMs = 200;
const longestEntry = 8 * 1024;
/** With more characters that wait to be stored, the process has to wait. */
const mostWaiting = 64 * 1024;
/** How much of the end of stderr an error quotes. */
const quoted = 1000;

/** Writes the log of one run of a sensor. */
export interface Logger {
  /** Adds a line about the process. */
  report(line: string): void;
  /** Adds what arrives on stderr, which is read only as fast as it is stored; resolves at its end. */
  follow(stderr: AsyncIterable<Buffer>): Promise<void>;
  /** Returns the end of stderr. */
  tail(): string;
  /** Resolves when everything is stored. */
  end(): Promise<void>;
}

/** Creates the log of a run, whose entries continue after `seq`. Secrets are masked, wherever they are split. */
export function createLogger(
  services: Services,
  { lease, seq: first, mask, persist }: { lease: Lease; seq: string; mask: Mask | null; persist: Persist },
): Logger {
  const rest = createRest();
  let seq = BigInt(first);
  let waiting: NewEntry[] = [];
  let size = 0;
  let storing: Promise<void> | null = null;
  let ending = false;
  let last = "";

  async function store(): Promise<void> {
    while (waiting.length > 0) {
      const entries = waiting;
      waiting = [];
      size = 0;
      rest.arm();
      await persist(() => write(services, (tx) => appendSensorLog(tx, lease, entries))).catch((error: unknown) => {
        services.log.error({ err: error, sensor: lease.sensor }, "a sensor's log could not be stored");
      });
      if (!ending) await rest.sleep(everyMs);
    }
    storing = null;
  }
  function add(stream: NewEntry["stream"], raw: string): void {
    const text = raw.toWellFormed().replaceAll("\0", "\ufffd");
    if (text === "") return;
    size += text.length;
    const open = waiting.at(-1);
    if (open?.stream === stream && open.text.length + text.length <= longestEntry) {
      open.text += text;
    } else {
      for (let at = 0; at < text.length; at += longestEntry) {
        seq += 1n;
        const piece = text.slice(at, at + longestEntry).toWellFormed();
        waiting.push({ seq: String(seq), stream, at: new Date().toISOString(), text: piece });
      }
    }
    storing ??= store();
  }
  return {
    report: (line) => add("system", `${mask?.text(line) ?? line}\n`),
    follow: async (stderr) => {
      const decoder = new StringDecoder("utf8");
      const masked = mask?.stream() ?? null;
      const take = (text: string) => {
        last = `${last}${text}`.slice(-quoted);
        add("stderr", text);
      };
      try {
        for await (const chunk of stderr) {
          const text = decoder.write(chunk);
          take(masked?.write(text) ?? text);
          if (size > mostWaiting) {
            rest.end();
            await storing;
          }
        }
      } finally {
        const text = decoder.end();
        take(masked === null ? text : `${masked.write(text)}${masked.end()}`);
      }
    },
    tail: () => last.toWellFormed().trim(),
    end: async () => {
      ending = true;
      rest.end();
      await storing;
    },
  };
}
