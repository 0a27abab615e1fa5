import { sql } from "drizzle-orm";
import type { MaxStarts, WindowDefinition, WindowKind } from "../catalog/window.ts";
import { anyOf, type Db, rows } from "../db/client.ts";
import type { Hold } from "../db/tables/event.ts";
import { type Budget, fullBudget, isIdle, type WindowInput, type WindowState } from "./decide.ts";
import type { PendingEvent } from "./match.ts";

/** A rule as its lock shows it. */
export interface LockedRule {
  id: string;
  ref: string;
  /** Whether it is enabled and has a trigger. */
  isActive: boolean;
  triggerRef: string;
  answerTrigger: string | null;
  window: WindowDefinition | null;
  maxStarts: MaxStarts | null;
}

/** Locks a rule until the transaction ends; null when another one has locked it, or it does not exist. */
export async function lockRule(db: Db, id: string): Promise<LockedRule | null> {
  const [rule] = await rows<LockedRule>(
    db,
    sql`select r.id::text, r.ref, r.enabled and r.trigger is not null as "isActive", r.trigger_ref as "triggerRef",
        attune.answer_trigger(r) as "answerTrigger", r."window", r.max_starts as "maxStarts"
      from attune.rule r where r.id = ${id}::bigint for no key update skip locked`,
  );
  return rule ?? null;
}

/** Until where everything is known that happened. */
export interface Horizon {
  /** Events with lower ids are evaluated; null: all are. */
  before: string | null;
  /** Events from before that time are evaluated, in milliseconds since 1970. */
  now: number;
}

/** So many events that wait are looked at; those after them count as events of any trigger. */
const longestLook = 10_000;

/** Returns until where the events of the triggers are evaluated. What was evaluated is visible to later statements. */
export async function readHorizon(db: Db, triggerRefs: readonly string[]): Promise<Horizon> {
  const own = sql`filter (where u.trigger_ref in (select jsonb_array_elements_text(${JSON.stringify(triggerRefs)}::text::jsonb)))`;
  const isCut = sql`count(*) = ${longestLook}::int`;
  const ms = (time: ReturnType<typeof sql>) => sql`floor(extract(epoch from ${time}) * 1000)::float8`;
  const [horizon] = await rows<Horizon>(
    db,
    sql`select least(min(u.id) ${own}, case when ${isCut} then max(u.id) + 1 end)::text as before,
        least(${ms(sql`statement_timestamp()`)}, ${ms(sql`min(u.created) ${own}`)}, case when ${isCut} then ${ms(sql`max(u.created)`)} end) as now
      from (select e.id, e.trigger_ref, e.created from attune.pending_event p join attune.event e on e.id = p.event
        order by p.event limit ${longestLook}::int) u`,
  );
  return horizon ?? { before: "0", now: 0 };
}

/** A match of the rule, or an answer to one, that is to be decided about. */
export interface Input extends WindowInput {
  evaluation: string;
  key: string | null;
  hash: string;
}

/** Returns the first inputs of a rule in the order of their events; of one event, the answer comes before the match. */
export async function readInputs(db: Db, rule: string, { before }: Horizon, limit: number): Promise<Input[]> {
  return await rows<Input>(
    db,
    sql`select v.id::text as evaluation, v.event::text as event, v.matched as "isMatch", v.key, v.key_hash as hash,
        (extract(epoch from e.created) * 1000)::float8 as at
      from attune.rule_evaluation v join attune.event e on e.id = v.event
      where v.rule = ${rule}::bigint and v.pending and (${before}::bigint is null or v.event < ${before}::bigint)
      order by v.event, v.matched limit ${limit}::int`,
  );
}

/** What is known of one key. */
export interface OpenWindow {
  key: string | null;
  hash: string;
  state: WindowState;
}

/** The windows of a rule that may change: those of the inputs, by the hashes of their keys, and those that are due. */
export interface OpenWindows {
  byHash: Map<string, OpenWindow>;
  /** How many windows the rule has that have not expired; not counted, 0, when all keys of the inputs are known. */
  keys: number;
  areMoreDue: boolean;
}

/** Reads windows of a rule, at most `limit` of those that are due. */
export async function openWindows(
  db: Db,
  { rule, inputs, now, limit }: { rule: string; inputs: readonly Input[]; now: number; limit: number },
): Promise<OpenWindows> {
  const hashes = JSON.stringify([...new Set(inputs.map(({ hash }) => hash))]);
  const at = sql`to_timestamp(${now / 1000}::float8)`;
  const columns = sql`w.key, w.key_hash as hash, w.state || jsonb_build_object('count', w.count, 'event', w.event::text,
    'dueAt', (extract(epoch from w.due_at) * 1000)::float8, 'expiresAt', (extract(epoch from w.expires_at) * 1000)::float8) as state`;
  const [known, due] = await Promise.all([
    rows<OpenWindow>(
      db,
      // Each is looked up by its whole key, even if the statement was planned when the rule had few.
      sql`select ${columns} from jsonb_array_elements_text(${hashes}::text::jsonb) k
        cross join lateral (select w.* from attune.rule_window w where w.rule = ${rule}::bigint and w.key_hash = k limit 1) w`,
    ),
    rows<OpenWindow>(
      db,
      sql`select ${columns} from attune.rule_window w where w.rule = ${rule}::bigint and w.due_at <= ${at}
        order by w.due_at limit ${limit}::int`,
    ),
  ]);
  const byHash = new Map([...known, ...due].map((window) => [window.hash, window]));
  const isNew = inputs.some(({ hash }) => !byHash.has(hash));
  // Counting reads all windows of the rule, which only new keys are worth.
  const [count] = isNew
    ? await rows<{ keys: number }>(
        db,
        sql`select count(*)::int as keys from attune.rule_window w where w.rule = ${rule}::bigint
          and (w.expires_at is null or w.expires_at >= ${at})`,
      )
    : [];
  return { byHash, keys: count?.keys ?? 0, areMoreDue: due.length === limit };
}

/** Stores windows of a rule; those that say nothing are deleted. */
export async function storeWindows(
  db: Db,
  { rule, kind, windows }: { rule: string; kind: WindowKind; windows: Iterable<OpenWindow> },
): Promise<void> {
  const all = [...windows];
  const idle = all.filter(({ state }) => isIdle(state)).map(({ hash }) => hash);
  const kept = all
    .filter(({ state }) => !isIdle(state))
    .map(({ key, hash, state: { count, event, dueAt, expiresAt, at, from, times } }) => {
      return { key, hash, count, event, due_at: dueAt, expires_at: expiresAt, state: { at, from, times } };
    });
  if (idle.length > 0) {
    await rows(
      db,
      sql`delete from attune.rule_window where rule = ${rule}::bigint
        and key_hash in (select jsonb_array_elements_text(${JSON.stringify(idle)}::text::jsonb))`,
    );
  }
  if (kept.length === 0) return;
  await rows(
    db,
    sql`insert into attune.rule_window (rule, key, key_hash, kind, count, state, due_at, expires_at, event)
      select ${rule}::bigint, i.key, i.hash, ${kind}, i.count, i.state, to_timestamp(i.due_at / 1000), to_timestamp(i.expires_at / 1000), e.id
      from jsonb_to_recordset(${JSON.stringify(kept)}::text::jsonb) as i(key text, hash text, count int, state jsonb,
        due_at float8, expires_at float8, event bigint) left join attune.event e on e.id = i.event
      on conflict (rule, key_hash) do update set kind = excluded.kind, count = excluded.count, state = excluded.state,
        due_at = excluded.due_at, expires_at = excluded.expires_at, event = excluded.event`,
  );
}

/** Deletes what a rule that evaluates no events waits for. */
export async function dropDue(db: Db, rule: string): Promise<void> {
  await rows(db, sql`delete from attune.rule_window where rule = ${rule}::bigint and due_at is not null`);
}

/** Stores what was decided about inputs, by the ids of their evaluations; null: they started the action. */
export async function storeOutcomes(db: Db, outcomes: ReadonlyMap<string, Hold | null>): Promise<void> {
  if (outcomes.size === 0) return;
  const input = JSON.stringify([...outcomes].map(([id, held]) => ({ id, held })));
  await rows(
    db,
    sql`update attune.rule_evaluation v set pending = false, held = i.held
      from jsonb_to_recordset(${input}::text::jsonb) as i(id bigint, held text) where v.id = i.id`,
  );
}

/** Says of matches that were held back to start later that the rule's limit kept them from it. */
export async function storeRefused(db: Db, rule: string, events: readonly string[]): Promise<void> {
  if (events.length === 0) return;
  await rows(
    db,
    sql`update attune.rule_evaluation set held = 'max_starts'
      where rule = ${rule}::bigint and event = ${anyOf(events)} and matched and key_hash is not null`,
  );
}

/** Returns what a rule has of its limit. */
export async function readBudget(db: Db, rule: string): Promise<Budget> {
  const ms = (column: string) => sql.raw(`(extract(epoch from ${column}) * 1000)::float8`);
  const [budget] = await rows<Budget>(
    db,
    sql`select ${ms("period_from")} as "from", starts, ${ms("tripped_at")} as "trippedAt", ${ms("resets_at")} as "resetsAt"
      from attune.rule_budget where rule = ${rule}::bigint`,
  );
  return budget ?? fullBudget();
}

/** Stores what a rule has of its limit. */
export async function storeBudget(db: Db, rule: string, { from, starts, trippedAt, resetsAt }: Budget): Promise<void> {
  const time = (ms: number | null) => sql`to_timestamp(${ms === null ? null : ms / 1000}::float8)`;
  await rows(
    db,
    sql`insert into attune.rule_budget (rule, period_from, starts, tripped_at, resets_at)
      values (${rule}::bigint, ${time(from ?? trippedAt)}, ${starts}::int, ${time(trippedAt)}, ${time(resetsAt)})
      on conflict (rule) do update set period_from = excluded.period_from, starts = excluded.starts,
        tripped_at = excluded.tripped_at, resets_at = excluded.resets_at`,
  );
}

/** Returns the events with which a rule starts, by their ids; deleted ones are missing. */
export async function readEvents(db: Db, ids: readonly string[]): Promise<Map<string, PendingEvent>> {
  const found = await rows<PendingEvent>(
    db,
    sql`select e.id::text, e.trigger::text, e.trigger_ref as "triggerRef", e.payload, e.rule::text, e.trace_tag as "traceTag",
        e.trace_context as "traceContext", e.generation, to_jsonb(e.created) #>> '{}' as created, to_jsonb(now()) #>> '{}' as now,
        null as "rulesRevision"
      from attune.event e where e.id = ${anyOf(ids)} for key share`,
  );
  return new Map(found.map((event) => [event.id, event]));
}
