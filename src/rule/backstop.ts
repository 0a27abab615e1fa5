import { getColumns, sql } from "drizzle-orm";
import { readable } from "../access/resource.ts";
import type { Session } from "../access/session.ts";
import { anyOf, type Db, rows } from "../db/client.ts";
import { rule } from "../db/tables/rule.ts";
import type { OthersMatched } from "./judge.ts";
import type { OtherRules } from "./lint-kinds.ts";
import type { RuleIndex } from "./rule-index.ts";
import { type CompiledRule, createRuleSets, type RuleSets } from "./ruleset.ts";
import { createLimit, inTurn } from "./turn.ts";
import type { EventSubject } from "./window.ts";

/** Returns whether another rule matches an event. */
export type Others = (event: EventSubject) => Promise<OthersMatched>;

/** Returns what is known of the enabled rules of triggers, by the ids of these; nothing for a session that may read only some rules. */
export async function findOtherRules(
  db: Db,
  session: Session,
  triggers: readonly bigint[],
): Promise<ReadonlyMap<bigint, OtherRules>> {
  if (readable(session, "rule") !== null) return new Map();
  const found = await rows<{ id: string; exist: boolean; matchingAll: string | null }>(
    db,
    sql`select t.id::text, count(r.id) > 0 as exist, min(r.ref) filter (where r.conditions = '[]' and r.active_hours is null
          and r."window" ->> 'key' is null) as "matchingAll"
      from attune.trigger t left join attune.rule r on r.trigger = t.id and r.enabled and not r.backstop
      where t.id = ${anyOf(triggers.map(String))} group by t.id`,
  );
  return new Map(found.map(({ id, ...others }) => [BigInt(id), others]));
}

/** So much processor time the other rules have to evaluate one event. */
const limitMs = 1000;

/** The compiled rules of a process, by its connection: they are the same for all sessions. */
const kept = new WeakMap<Db, RuleSets>();

/**
 * Returns the function that says whether another rule of the trigger, as they are now, matches an event: what decides about a backstop. They are read
 * at the first call. A session that may read only some of the rules learns of the others nothing, not even that there are any.
 */
export function createOthers(
  db: Db,
  session: Session,
  { triggerRef, except }: { triggerRef: string; except: bigint | null },
): Others {
  let loaded: Promise<Known> | null = null;
  return async (event) => {
    loaded ??= loadKnown(db, session, triggerRef);
    const { rules, readable: ids } = await loaded;
    const isOver = createLimit(limitMs);
    for (const other of rules?.find(event.payload) ?? []) {
      if (other.backstop || other.id === String(except) || ids?.has(other.id) === false) continue;
      if ((await inTurn(() => other.judge(event))).matched) return true;
      if (isOver()) return { unknown: "the other rules take too much work for one event" };
    }
    return ids === null
      ? false
      : { unknown: "whether another rule matches shows only to those who may read all rules" };
  };
}

/** The enabled rules of a trigger, and which of them a session may read; null: all. */
interface Known {
  rules: RuleIndex<CompiledRule> | undefined;
  readable: ReadonlySet<string> | null;
}

async function loadKnown(db: Db, session: Session, triggerRef: string): Promise<Known> {
  const isReadable = readable(session, "rule");
  const found = await rows<{ id: string; revision: string; rules: string[] | null }>(
    db,
    sql`select t.id::text, t.rules_revision::text as revision,
        ${isReadable === null ? sql`null` : sql`array(select ${rule.id}::text from ${rule} where ${rule.triggerId} = t.id and ${isReadable(getColumns(rule))})`} as rules
      from attune.trigger t where t.ref = ${triggerRef}`,
  );
  const sets = kept.get(db) ?? createRuleSets();
  kept.set(db, sets);
  const loaded = await sets.load(db, new Map(found.map(({ id, revision }) => [id, revision])));
  const [trigger] = found;
  return {
    rules: loaded.get(trigger?.id ?? "")?.rules,
    readable: isReadable === null ? null : new Set(trigger?.rules ?? []),
  };
}
