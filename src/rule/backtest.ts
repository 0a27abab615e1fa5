import { sql } from "drizzle-orm";
import type { Session } from "../access/session.ts";
import { anyOf, type Db, rows } from "../db/client.ts";
import { invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { requireEvents } from "./authority.ts";
import { type CompiledDraft, compileTried, type Tried } from "./draft.ts";
import { type Judgement, judgeBackstop, type OthersMatched } from "./judge.ts";
import { type PendingEvent, previewParameters } from "./match.ts";
import type { CompiledRule } from "./ruleset.ts";
import { inTurn } from "./turn.ts";

/** A rule, and the stored events of its trigger to evaluate. */
export interface Backtest extends Tried {
  /** By default a day before `to`. */
  from: Date | null;
  /** By default now. */
  to: Date | null;
  /** The share of the events that is evaluated, above 0 and at most 1. The same share takes the same events. */
  sample: number;
}

const counted = ["events", "matches", "errors", "starts", "liveMatches", "gained", "lost", "enforced"] as const;
type Counts = Record<(typeof counted)[number], number>;
const countsOf = (count: (name: keyof Counts, index: number) => number) =>
  Object.fromEntries(counted.map((name, index) => [name, count(name, index)])) as Counts;
const none = countsOf(() => 0);

/** How far a back-test is. */
export interface BacktestPosition extends Counts {
  /** The end of the events, in milliseconds since 1970. */
  until: number;
  /** The last evaluated event: when it was created, in microseconds since 1970, and its id. */
  created: bigint;
  id: bigint;
}

/** An event for which the rule with the other contents decides otherwise than as it is stored. */
export interface BacktestDifference {
  event: string;
  kind: "gained" | "lost";
  /** Those that its action would start with; null when it no longer matches, or would start nothing. */
  parameters: JsonObject | null;
  parametersError: string | null;
}

/** What a back-test has found up to a position. */
export interface BacktestReport {
  position: BacktestPosition;
  /** The last evaluated event was created then; null: there was none. */
  upTo: Date | null;
  isComplete: boolean;
  /** Events were left out, because more are in the time than one back-test evaluates. */
  isTruncated: boolean;
  /** Those of the events since the report before. Only the first twenty of a back-test are reported. */
  differences: BacktestDifference[];
}

const maxEvents = 100_000;
const pageEvents = 2000;
const pageBytes = 4 * 1024 * 1024;
const maxDifferences = 20;
const dayMs = 24 * 60 * 60 * 1000;

/** Returns the text that `readPosition` reads. */
export const writePosition = (position: BacktestPosition): string =>
  [position.until, position.created, position.id, ...counted.map((name) => position[name])].join(".");

/** Returns the position of a report. Throws InvalidInputError at `after` for any other text. */
export function readPosition(text: string): BacktestPosition {
  if (!/^\d{1,15}(\.\d{1,18}){10}$/.test(text)) throw invalid("after", `"${text}" is not a cursor of a back-test`);
  const [until = "", created = "", id = "", ...counts] = text.split(".");
  const totals = countsOf((_name, index) => Number(counts[index]));
  return { until: Number(until), created: BigInt(created), id: BigInt(id), ...totals };
}

function begin({ from, to, sample }: Backtest): BacktestPosition {
  if (!(sample > 0 && sample <= 1)) throw invalid("sample", "must be above 0 and at most 1");
  const until = (to ?? new Date()).getTime();
  const since = from?.getTime() ?? until - dayMs;
  if (since < 0 || since >= until) throw invalid("from", "must be before `to`, and not before 1970");
  return { until, created: BigInt(since) * 1000n, id: 0n, ...none };
}

async function open(db: Db, session: Session, input: Backtest): Promise<CompiledDraft> {
  const compiled = await compileTried(db, session, input);
  requireEvents(session, compiled.triggerRef);
  return compiled;
}

/**
 * Evaluates a rule over stored events of its trigger, oldest first, by the code that decides for real events, and yields what it has found
 * after each page, until all are evaluated or it has taken 100,000. Changes nothing and reads no key. It continues after a position. The
 * session must be allowed to change the rule so, and to read events of its trigger; both are checked again when `session` returns another
 * one. Throws NotFoundError, ForbiddenError, InvalidInputError.
 */
export async function* backtestRule(
  db: Db,
  session: () => Session,
  input: Backtest,
  after: BacktestPosition | null,
): AsyncGenerator<BacktestReport, void> {
  const start = begin(input);
  let position = after ?? start;
  let checked = session();
  let sides = await open(db, checked, input);
  for (;;) {
    if (session() !== checked) {
      checked = session();
      sides = await open(db, checked, input);
    }
    const page = await readPage(db, sides, position, input.sample);
    const found = await evaluatePage(sides, page.events);
    const enforced = await countEnforced(db, sides.id, page.events);
    const differences = found.differences.slice(0, Math.max(0, maxDifferences - position.gained - position.lost));
    position = advance(position, { ...found.counts, enforced }, page.events.at(-1));
    const isTruncated = page.hasMore && position.events >= maxEvents;
    const isComplete = isTruncated || !page.hasMore;
    const upTo = position.id === 0n ? null : new Date(Number(position.created / 1000n));
    yield { position, upTo, isComplete, isTruncated, differences };
    if (isComplete) return;
  }
}

function advance(from: BacktestPosition, found: Counts, last: StoredEvent | undefined): BacktestPosition {
  const totals = countsOf((name) => from[name] + found[name]);
  return { ...from, ...totals, ...(last ? { created: BigInt(last.createdMicros), id: BigInt(last.id) } : {}) };
}

interface StoredEvent extends PendingEvent {
  createdMicros: string;
}

/** Returns the next events of the trigger that concern the rule. A page ends early where their payloads are long. */
async function readPage(
  db: Db,
  { id, triggerRef }: CompiledDraft,
  { created, id: last, until, events: taken }: BacktestPosition,
  sample: number,
): Promise<{ events: StoredEvent[]; hasMore: boolean }> {
  const wanted = Math.min(pageEvents, Math.max(0, maxEvents - taken));
  const found = await rows<StoredEvent & { isBeyond: boolean }>(
    db,
    sql`with page as materialized (
        select p.id, row_number() over w > ${wanted}::int or sum(p.size) over w - p.size >= ${pageBytes}::int as beyond
        from (select id, created, pg_column_size(payload) as size from attune.event
          where trigger_ref = ${triggerRef} and (rule is null or rule = ${ofRule(id)}) and skipped is null
            and (created, id) > (timestamptz 'epoch' + ${String(created)}::bigint * interval '1 microsecond', ${String(last)}::bigint)
            and created < timestamptz 'epoch' + ${String(until)}::bigint * interval '1 millisecond'
            and (${sample}::float8 >= 1 or hashint8(id)::float8 + 2147483648 < ${sample}::float8 * 4294967296)
          order by created, id limit ${wanted + 1}::int) p
        window w as (order by p.created, p.id))
      select e.id::text as "id", null as "trigger", e.trigger_ref as "triggerRef", p.beyond as "isBeyond",
        case when not p.beyond then e.payload end as "payload", e.rule::text as "rule", e.trace_tag as "traceTag",
        null as "traceContext", e.generation as "generation", to_jsonb(e.created) #>> '{}' as "created",
        to_jsonb(now()) #>> '{}' as "now", null as "rulesRevision",
        (extract(epoch from e.created) * 1000000)::bigint::text as "createdMicros"
      from page p join attune.event e on e.id = p.id order by e.created, e.id`,
  );
  const events = found.filter(({ isBeyond }) => !isBeyond);
  return { events, hasMore: events.length < found.length };
}

/** SQL: the id of the rule; null, which nothing equals, for one that does not exist. */
const ofRule = (id: bigint | null) => sql`${id === null ? null : String(id)}::bigint`;

/** What the rule decides for an event, as it is to be tried and as it is stored. */
interface Decision {
  matched: boolean;
  wasMatched: boolean;
  hasError: boolean;
  parameters: JsonObject | null;
  parametersError: string | null;
}

async function decide({ live, rule, others }: CompiledDraft, event: StoredEvent): Promise<Decision> {
  let othersMatched: OthersMatched | null = null;
  const judge = async (side: CompiledRule): Promise<Judgement> => {
    const judged = await inTurn(() => side.judge(event));
    if (!side.backstop || !judged.matched) return judged;
    othersMatched ??= event.rule === null ? await others(event) : false;
    return judgeBackstop(judged, othersMatched);
  };
  const { matched, criteria } = await judge(rule);
  const { parameters, error } = matched
    ? await inTurn(() => previewParameters({ rule, event }))
    : { parameters: null, error: null };
  const wasMatched = live === rule ? matched : live !== null && (await judge(live)).matched;
  return {
    ...{ matched, parameters, parametersError: error, wasMatched },
    hasError: criteria.some((criterion) => criterion.error !== null),
  };
}

async function evaluatePage(
  sides: CompiledDraft,
  events: readonly StoredEvent[],
): Promise<{ counts: Counts; differences: BacktestDifference[] }> {
  const counts = { ...none, events: events.length };
  const differences: BacktestDifference[] = [];
  for (const event of events) {
    const { matched, wasMatched, hasError, parameters, parametersError } = await decide(sides, event);
    counts.matches += Number(matched);
    counts.liveMatches += Number(wasMatched);
    counts.errors += Number(hasError);
    counts.starts += Number(parameters !== null);
    if (matched === wasMatched) continue;
    const kind = matched ? "gained" : "lost";
    counts[kind] += 1;
    if (differences.length < maxDifferences) differences.push({ event: event.id, kind, parameters, parametersError });
  }
  return { counts, differences };
}

/** Returns for how many of the events the rule has an enforcement. */
async function countEnforced(db: Db, rule: bigint | null, events: readonly StoredEvent[]): Promise<number> {
  if (events.length === 0) return 0;
  const [found] = await rows<{ count: number }>(
    db,
    sql`select count(*)::int as count from attune.enforcement
      where rule = ${ofRule(rule)} and event = ${anyOf(events.map(({ id }) => id))}`,
  );
  return found?.count ?? 0;
}
