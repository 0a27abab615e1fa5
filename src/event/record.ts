import { sql } from "drizzle-orm";
import { authorize, authorizeFound, may, targetOf } from "../access/grants.ts";
import { findRow } from "../access/rows.ts";
import { holdSensor } from "../access/sensor-token.ts";
import type { Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, ForbiddenError, NotFoundError, UnauthenticatedError } from "../errors.ts";
import { faultPoint } from "../lib/fault.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { currentTrace, formatTraceparent, newContext, type TraceContext } from "../lib/trace.ts";
import { checkPayload } from "../schema/payload.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { storableJson } from "../schema/storable.ts";

/** The properties of a trigger that its events depend on. Ids are decimal text, as the database returns them. */
export interface EventTrigger {
  id: string;
  ref: string;
  enabled: boolean;
  outSchema: ParameterMap | null;
}

/** An event to be stored. */
export interface NewEvent {
  trigger: EventTrigger;
  payload: Json;
  /** The trigger's parameters at that time, if any: those of the timer, or of the webhook. */
  config: JsonObject | null;
  /** The sensor that observed it, if any. */
  source: { id: string; ref: string } | null;
  /** The only rule that may match it (timers); null for every rule of the trigger. */
  rule: string | null;
  /** Null for `<trigger ref>.<event id>`. */
  traceTag: string | null;
  /** The execution that emitted it, if any. */
  cause: string | null;
  /** The generation of the cause plus one; 0 without a cause. */
  generation: number;
}

/** Returns the trigger with that ref; null when it does not exist. */
export async function findTrigger(db: Db, ref: string): Promise<EventTrigger | null> {
  const [trigger] = await rows<EventTrigger>(
    db,
    sql`select id::text as "id", ref as "ref", enabled as "enabled", out_schema as "outSchema" from attune.trigger where ref = ${ref}`,
  );
  return trigger ?? null;
}

/**
 * Stores events in the caller's transaction, in one statement, and returns their ids in order. Every event is stored by this function; the
 * database adds those to be evaluated to `pending_event`. Throws ConflictError (a trigger is disabled) and InvalidInputError (a payload violates its trigger's schema, each
 * issue with its path); then nothing is stored.
 */
export async function emitEvents(tx: Tx, events: readonly NewEvent[]): Promise<string[]> {
  for (const { trigger, payload } of events) checkEvent(trigger, payload);
  const { maxGeneration } = tx;
  const spans = beginSpans(tx, events);
  const input = events.map((event, ord) => ({
    ord,
    trigger: event.trigger.id,
    trigger_ref: event.trigger.ref,
    payload: event.payload,
    config: event.config,
    source: event.source?.id ?? null,
    source_ref: event.source?.ref ?? null,
    rule: event.rule,
    trace_tag: event.traceTag,
    trace_context: spans[ord]?.context && formatTraceparent(spans[ord].context),
    cause: event.cause,
    generation: event.generation,
  }));
  const stored = await rows<{ id: string }>(
    tx.db,
    sql`with r as (
        select nextval('attune.event_id_seq') as id, i.* from (
          select * from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb) as r(ord int, trigger bigint,
            trigger_ref text, payload jsonb, config jsonb, source bigint, source_ref text, rule bigint, trace_tag text, trace_context text, cause bigint, generation int)
          order by ord) i)
      insert into attune.event (id, trigger, trigger_ref, payload, config, source, source_ref, rule, trace_tag, trace_context, cause_execution, generation,
        evaluated_at, skipped)
      overriding system value
      select id, trigger, trigger_ref, payload, config, source, source_ref, rule, coalesce(trace_tag, trigger_ref || '.' || id), trace_context, cause, generation,
        case when generation > ${maxGeneration}::int then now() end,
        case when generation > ${maxGeneration}::int then 'stopped loop: generation ' || generation || ' is above ' || ${maxGeneration}::int end
      from r order by ord returning id::text`,
  );
  tx.announce("event");
  tx.observe(() => {
    tx.metrics.events.inc(stored.length);
    for (const { record } of spans) record?.();
  });
  faultPoint("event.before_commit");
  return stored.map(({ id }) => id).sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
}

interface EventSpan {
  context: TraceContext | null;
  /** Records the span after the commit; null: nothing is recorded. */
  record: (() => void) | null;
}

/** Begins a span for each event, below the current request's or in a new trace; without an endpoint the events get the request's context itself. */
function beginSpans({ tracing }: Tx, events: readonly NewEvent[]): EventSpan[] {
  const parent = currentTrace();
  if (tracing === null) return events.map(() => ({ context: parent, record: null }));
  const from = Date.now();
  return events.map(({ trigger: { ref } }) => {
    const context = newContext(parent);
    const span = {
      name: `event ${ref}`,
      kind: "producer",
      context,
      parent,
      from,
      attributes: { "attune.trigger": ref },
    } as const;
    return { context, record: () => tracing.record({ ...span, to: Date.now() }) };
  });
}

function checkEvent(trigger: EventTrigger, payload: Json): void {
  if (!trigger.enabled) throw new ConflictError(`The trigger "${trigger.ref}" is disabled: it accepts no events.`);
  checkPayload(trigger, payload);
}

/** What an event inherits from the execution that caused it. */
export type Origin = Pick<NewEvent, "traceTag" | "cause" | "generation">;

/** Returns what an event inherits from that execution; null when it does not exist. */
export async function originOf(db: Db, execution: string): Promise<Origin | null> {
  const [cause] = await rows<{ traceTag: string; generation: number }>(
    db,
    sql`select trace_tag as "traceTag", generation as "generation" from attune.execution
      where id = ${execution}::bigint`,
  );
  return cause ? { traceTag: cause.traceTag, cause: execution, generation: cause.generation + 1 } : null;
}

/**
 * Returns the sensor with that ref, which a sensor's own session need not give. Throws NotFoundError for one that does not exist or that the session
 * may not read, ForbiddenError when a sensor names another one, and UnauthenticatedError when its process has lost its lease.
 */
async function findSource(tx: Tx, session: Session, ref: string | null): Promise<NewEvent["source"]> {
  if (session.kind === "sensor") {
    const own = await holdSensor(tx, session);
    if (own === null) throw new UnauthenticatedError("The process of this sensor has been replaced by another one.");
    if (ref !== null && ref !== own.ref)
      throw new ForbiddenError(`A sensor's token emits events of that sensor only, "${own.ref}".`);
    return own;
  }
  if (ref === null) return null;
  const { id } = await findRow(tx.db, session, { of: "sensor", doing: "read", which: { ref } });
  return { id: String(id), ref };
}

/** Stores one event; in an execution's session, with that execution as its cause. Throws NotFoundError, ForbiddenError, and the errors of `emitEvents`. */
export async function createEvent(
  tx: Tx,
  session: Session,
  input: {
    trigger: string;
    payload: Json;
    config?: JsonObject | null;
    source?: string | null;
    traceTag: string | null;
  },
): Promise<{ id: bigint }> {
  const target = targetOf(input.trigger);
  const trigger = authorizeFound(session, "read", await findTrigger(tx.db, input.trigger), {
    resource: "trigger",
    name: input.trigger,
    target: () => target,
    implicit: () => (may(session, "event", "create", target) ? "read" : null),
  });
  authorize(session, "event", "create", target);
  const execution = session.executionId === null ? null : String(session.executionId);
  const caused = execution === null ? null : await originOf(tx.db, execution);
  if (execution !== null && caused === null) throw new NotFoundError("execution", execution);
  const origin = caused ?? { traceTag: input.traceTag, cause: null, generation: 0 };
  const { payload, config = null } = input;
  const source = await findSource(tx, session, input.source ?? null);
  if (config !== null) storableJson(config, "config");
  const [id] = await emitEvents(tx, [{ trigger, payload, config, source, rule: null, ...origin }]);
  return { id: BigInt(id ?? 0) };
}
