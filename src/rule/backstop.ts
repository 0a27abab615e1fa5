import { getColumns, sql } from "drizzle-orm";
import { readable } from "../access/resource.ts";
import type { Session } from "../access/session.ts";
import type { ActiveHours } from "../catalog/active-hours.ts";
import type { WindowDefinition } from "../catalog/window.ts";
import { anyOf, type Db, rows } from "../db/client.ts";
import { rule } from "../db/tables/rule.ts";
import type { Json } from "../lib/json.ts";
import { compileJudge, type Judge, type OthersMatched } from "./judge.ts";
import type { OtherRules } from "./lint-kinds.ts";
import { createRuleIndex, type IndexedRule, type RuleIndex } from "./rule-index.ts";
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

interface StoredRule {
  id: string;
  condition: "any" | "all";
  conditions: Json[];
  window: WindowDefinition | null;
  isHeld: boolean;
  activeHours: ActiveHours | null;
}

interface Other extends IndexedRule {
  judge: Judge;
}

/** So much processor time the other rules have to evaluate one event. */
const limitMs = 1000;

/**
 * Returns the function that says whether another rule of the trigger, as they are now, matches an event: what decides about a backstop. They are read
 * at the first call. A session that may read only some of the rules learns of the others nothing, not even that there are any.
 */
export function createOthers(
  db: Db,
  session: Session,
  { triggerRef, except }: { triggerRef: string; except: bigint | null },
): Others {
  let loaded: Promise<RuleIndex<Other>> | null = null;
  const isPart = readable(session, "rule") !== null;
  return async (event) => {
    loaded ??= loadOthers(db, session, triggerRef);
    const isOver = createLimit(limitMs);
    for (const other of (await loaded).find(event.payload)) {
      if (other.id === String(except)) continue;
      if ((await inTurn(() => other.judge(event))).matched) return true;
      if (isOver()) return { unknown: "the other rules take too much work for one event" };
    }
    return isPart ? { unknown: "whether another rule matches shows only to those who may read all rules" } : false;
  };
}

async function loadOthers(db: Db, session: Session, triggerRef: string): Promise<RuleIndex<Other>> {
  const found = await rows<StoredRule>(
    db,
    sql`select ${rule.id}::text as id, ${rule.condition} as condition, ${rule.conditions} as conditions, ${rule.window} as "window",
        ${rule.window} is not null or ${rule.maxStarts} is not null as "isHeld", ${rule.activeHours} as "activeHours"
      from ${rule} where ${rule.enabled} and not ${rule.backstop} and ${rule.triggerRef} = ${triggerRef} and ${rule.triggerId} is not null
        and ${readable(session, "rule")?.(getColumns(rule)) ?? sql`true`}`,
  );
  const index = createRuleIndex<Other>();
  for (const { id, window, ...criteria } of found) {
    const judged = compileJudge({ ...criteria, key: window?.key });
    index.set({ id, condition: criteria.condition, recordEvaluations: "near", ...judged });
  }
  return index;
}
