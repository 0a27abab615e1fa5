import { sql } from "drizzle-orm";
import { authorize, authorizeFound, may, targetOf } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import { eventQueue } from "../db/jobs.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid, NotFoundError } from "../errors.ts";
import { faultPoint } from "../lib/fault.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { compilePayloadSchema, type ParameterMap } from "../schema/schema.ts";
import { storableJson } from "../schema/storable.ts";

/** An event caused by events this many generations deep is stored, not evaluated: a stopped loop. */
const maxGeneration = 32;

/** What an event needs to know of its trigger. Ids are decimal text, as the database gives them. */
export interface EventTrigger {
  id: string;
  ref: string;
  enabled: boolean;
  outSchema: ParameterMap | null;
}

export interface NewEvent {
  trigger: EventTrigger;
  payload: Json;
  /** The trigger's parameters at the time, where it has any (timers). */
  config: JsonObject | null;
  /** The one rule that may match it (timers); null: every rule of the trigger. */
  rule: string | null;
  /** Null: `<trigger ref>.<event id>`. */
  traceTag: string | null;
  /** The execution that emitted it, and the generation of what started that one plus one. */
  cause: string | null;
  generation: number;
}

/** The trigger with that ref; null when there is none. */
export async function findTrigger(db: Db, ref: string): Promise<EventTrigger | null> {
  const [trigger] = await rows<EventTrigger>(
    db,
    sql`select id::text as "id", ref as "ref", enabled as "enabled", out_schema as "outSchema" from attune.trigger where ref = ${ref}`,
  );
  return trigger ?? null;
}

/**
 * The only way in: stores events and their jobs in the caller's transaction, in two statements whatever their number, and
 * answers their ids in order. Throws ConflictError (trigger disabled) and InvalidInputError (a payload that breaks the
 * trigger's contract, each fault at its path); then nothing is stored.
 */
export async function emitEvents(tx: Tx, events: readonly NewEvent[]): Promise<string[]> {
  for (const { trigger, payload } of events) checkEvent(trigger, payload);
  const input = events.map((event, ord) => ({
    ord,
    trigger: event.trigger.id,
    trigger_ref: event.trigger.ref,
    payload: event.payload,
    config: event.config,
    rule: event.rule,
    trace_tag: event.traceTag,
    cause: event.cause,
    generation: event.generation,
  }));
  const stored = await rows<{ id: string; stopped: boolean }>(
    tx.db,
    sql`with r as (
        select nextval('attune.event_id_seq') as id, i.* from (
          select * from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb) as r(ord int, trigger bigint,
            trigger_ref text, payload jsonb, config jsonb, rule bigint, trace_tag text, cause bigint, generation int)
          order by ord) i)
      insert into attune.event (id, trigger, trigger_ref, payload, config, rule, trace_tag, cause_execution, generation,
        evaluated_at, skipped)
      overriding system value
      select id, trigger, trigger_ref, payload, config, rule, coalesce(trace_tag, trigger_ref || '.' || id), cause, generation,
        case when generation > ${maxGeneration}::int then now() end,
        case when generation > ${maxGeneration}::int then 'stopped loop: generation ' || generation || ' is above ' || ${maxGeneration}::int end
      from r order by ord returning id::text, evaluated_at is not null as stopped`,
  );
  await tx.jobs.add(
    tx.db,
    eventQueue,
    stored.filter(({ stopped }) => !stopped).map(({ id }) => ({ id })),
  );
  tx.announce("event");
  faultPoint("event.before_commit");
  return stored.map(({ id }) => id).sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
}

function checkEvent(trigger: EventTrigger, payload: Json): void {
  if (!trigger.enabled) throw new ConflictError(`The trigger "${trigger.ref}" is disabled: it takes no events.`);
  storableJson(payload, "payload");
  if (!trigger.outSchema) return;
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) {
    throw invalid("payload", `the trigger "${trigger.ref}" takes an object`);
  }
  compilePayloadSchema(trigger.outSchema)(payload, "payload");
}

/** What an event takes from the execution whose session emits it; null: no execution does. */
async function findCause(
  db: Db,
  { executionId }: Session,
): Promise<Pick<NewEvent, "traceTag" | "cause" | "generation"> | null> {
  if (executionId === null) return null;
  const [cause] = await rows<{ traceTag: string; generation: number }>(
    db,
    sql`select trace_tag as "traceTag", generation as "generation" from attune.execution
      where id = ${String(executionId)}::bigint`,
  );
  if (!cause) throw new NotFoundError("execution", String(executionId));
  return { traceTag: cause.traceTag, cause: String(executionId), generation: cause.generation + 1 };
}

/** Stores one event, by hand or from the execution whose session asks: then that is its cause. Throws NotFoundError (no such trigger) and what `emitEvents` throws. */
export async function createEvent(
  tx: Tx,
  session: Session,
  input: { trigger: string; payload: Json; traceTag: string | null },
): Promise<{ id: bigint }> {
  const target = targetOf(input.trigger);
  const trigger = authorizeFound(session, "read", await findTrigger(tx.db, input.trigger), {
    resource: "trigger",
    name: input.trigger,
    target: () => target,
    implicit: () => (may(session, "event", "create", target) ? "read" : null),
  });
  authorize(session, "event", "create", target);
  const caused = await findCause(tx.db, session);
  const origin = caused ?? { traceTag: input.traceTag, cause: null, generation: 0 };
  const [id] = await emitEvents(tx, [{ trigger, payload: input.payload, config: null, rule: null, ...origin }]);
  return { id: BigInt(id ?? 0) };
}
