import { sql } from "drizzle-orm";
import { z } from "zod";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { Refusal } from "../errors.ts";
import { type EventTrigger, emitEvents } from "../event/record.ts";
import type { Json } from "../lib/json.ts";
import { parseJson } from "../lib/json-text.ts";
import { didYouMean } from "../lib/nearest.ts";
import { explain, firstFault } from "../lib/wording.ts";
import { checkPayload } from "../schema/payload.ts";
import type { Mask } from "../secrecy/mask.ts";
import { holdLease, type Lease } from "./lease.ts";
import type { Line } from "./lines.ts";

/** How much of a line that is no event the log quotes. */
const quoted = 200;

const emitted = z.strictObject({
  trigger: z.string(),
  payload: z.json().default({}),
  dedup: z.string().min(1).max(200).optional(),
});
type Emitted = z.output<typeof emitted>;

/** What was done with some lines: how many events were stored, and what is wrong with the other lines. */
export interface Stored {
  events: number;
  faults: string[];
}

/**
 * Stores the events of a sensor's lines in the caller's transaction. A line that is no event of one of its triggers stops none of the others, and a
 * second event with the same `dedup` is not stored. Returns null, and stores nothing, when the lease is not valid any longer.
 */
export async function storeLines(
  tx: Tx,
  { lease, ref, mask }: { lease: Lease; ref: string; mask: Mask | null },
  lines: readonly Line[],
): Promise<Stored | null> {
  if (!(await holdLease(tx, lease))) return null;
  const triggers = await findTriggers(tx, lease.sensor);
  const faults: string[] = [];
  const good: { trigger: EventTrigger; event: Emitted }[] = [];
  for (const line of lines) {
    if (line.text?.trim() === "") continue;
    const read = readLine(line.text, triggers);
    if ("fault" in read) faults.push(`stdout, line ${line.number}: ${read.fault}${quote(line.text)}`);
    else good.push(read);
  }
  const fresh = await nameEvents(tx, lease.sensor, good);
  const events = fresh.map(({ trigger, event }) => ({
    ...{
      trigger,
      payload: mask?.json(event.payload as Json) ?? (event.payload as Json),
      config: null,
      source: { id: lease.sensor, ref },
    },
    ...{ rule: null, traceTag: null, cause: null, generation: 0 },
  }));
  const ids = events.length > 0 ? await emitEvents(tx, events) : [];
  await rememberEvents(
    tx,
    lease.sensor,
    fresh.flatMap(({ event: { dedup } }, index) => (dedup === undefined ? [] : [{ name: dedup, event: ids[index] }])),
  );
  return { events: ids.length, faults };
}

async function findTriggers(tx: Tx, sensor: string): Promise<Map<string, EventTrigger>> {
  const found = await rows<EventTrigger>(
    tx.db,
    sql`select id::text as "id", ref as "ref", enabled as "enabled", out_schema as "outSchema" from attune.trigger
      where sensor = ${sensor}::bigint`,
  );
  return new Map(found.map((trigger) => [trigger.ref, trigger]));
}

function readLine(
  text: string | null,
  triggers: ReadonlyMap<string, EventTrigger>,
): { trigger: EventTrigger; event: Emitted } | { fault: string } {
  if (text === null) return { fault: "is longer than the 1 MiB of an event" };
  try {
    const value = parseJson(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return { fault: expected("is no object") };
    const parsed = emitted.safeParse(value, { error: explain });
    if (!parsed.success) return { fault: expected(firstFault(parsed.error)) };
    const event = parsed.data;
    const trigger = triggers.get(event.trigger);
    if (!trigger) {
      const known = [...triggers.keys()];
      return { fault: `"${event.trigger}" is not a trigger of this sensor${didYouMean(event.trigger, known)}` };
    }
    if (!trigger.enabled) return { fault: `the trigger "${trigger.ref}" is disabled: it accepts no events` };
    checkPayload(trigger, event.payload as Json);
    return { trigger, event };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { fault: text.trimStart().startsWith("{") ? error.message : expected(error.message) };
  }
}

const expected = (fault: string) => `${fault}; expected {"trigger": "…", "payload": {…}}`;

const quote = (text: string | null) =>
  text === null ? "" : `: ${text.length > quoted ? `${text.slice(0, quoted).toWellFormed()}…` : text}`;

/** Returns the events that are to be stored: those without a name, and the first of each name. */
async function nameEvents<T extends { event: Emitted }>(tx: Tx, sensor: string, events: readonly T[]): Promise<T[]> {
  const names = new Set(events.flatMap(({ event: { dedup } }) => dedup ?? []));
  if (names.size === 0) return [...events];
  const named = await rows<{ name: string }>(
    tx.db,
    sql`insert into attune.sensor_event_key (sensor, name) select ${sensor}::bigint, value
      from jsonb_array_elements_text(${JSON.stringify([...names])}::text::jsonb) on conflict (sensor, name) do nothing returning name`,
  );
  const fresh = new Set(named.map(({ name }) => name));
  return events.filter(({ event: { dedup } }) => dedup === undefined || fresh.delete(dedup));
}

/** A name is forgotten with its event. */
async function rememberEvents(
  tx: Tx,
  sensor: string,
  named: readonly { name: string; event: string | undefined }[],
): Promise<void> {
  if (named.length === 0) return;
  await tx.db.execute(
    sql`update attune.sensor_event_key k set event = n.event from jsonb_to_recordset(${JSON.stringify(named)}::text::jsonb) as n(name text, event bigint)
      where k.sensor = ${sensor}::bigint and k.name = n.name`,
  );
}
