import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import type { CriterionOutcome } from "../lang/criteria.ts";
import { isAnsweredBy } from "../rule/answers.ts";
import { concludeEvent, enforceOne, enforceRule } from "../rule/enforce.ts";
import { due } from "../rule/pending.ts";
import type { RuleSets } from "../rule/ruleset.ts";

/** From this try on an event is evaluated rule by rule. */
const triesTogether = 2;

const begun: CriterionOutcome = {
  path: "",
  operator: "",
  expected: null,
  result: false,
  error: "The process ended while it evaluated this rule for the event, so the rule was stopped for this event.",
};

/**
 * Evaluates up to `limit` events that waited when the process started, each by itself, because one of them may have ended the process
 * before. The try is stored before the evaluation begins. An event that has ended two processes is evaluated rule by rule, and the rule
 * that ends a third is stopped for this event: its evaluation says so. Returns when an event is newer than the process.
 */
export async function enforceSuspects(services: Services, ruleSets: RuleSets, limit: number): Promise<void> {
  const [{ started }] = (await rows<{ started: string }>(services.db, sql`select now()::text as started`)) as [
    { started: string },
  ];
  for (let count = 0; count < limit; count += 1) {
    const suspect = await nextSuspect(services, started);
    if (suspect === null) return;
    if (suspect.tries > triesTogether) await enforceApart(services, ruleSets, suspect);
    else await write(services, (tx) => enforceOne(tx, ruleSets, suspect.event));
  }
}

interface Suspect {
  event: string;
  tries: number;
}

/** Returns the next event that waits and is older than `started`, with its tries including this one. */
async function nextSuspect(services: Services, started: string): Promise<Suspect | null> {
  return await write(services, async (tx) => {
    const [suspect] = await rows<Suspect>(
      tx.db,
      sql`update attune.event set tries = tries + 1
        where id = (${due} and exists (select from attune.event e where e.id = p.event and e.created < ${started}::timestamptz)
          order by p.event limit 1 for update skip locked)
        returning id::text as "event", tries`,
    );
    return suspect ?? null;
  });
}

async function enforceApart(services: Services, ruleSets: RuleSets, { event, tries }: Suspect): Promise<void> {
  const rules = await rows<{ id: string; ref: string; isStopped: boolean }>(
    services.db,
    sql`select r.id::text as id, r.ref, exists (select from attune.rule_evaluation v
          where v.event = e.id and v.rule = r.id and v.detail = ${JSON.stringify([begun])}::text::jsonb) as "isStopped"
      from attune.event e join attune.trigger t on t.id = e.trigger join attune.rule r on r.enabled and (r.trigger = t.id or ${isAnsweredBy})
      where e.id = ${event}::bigint and e.evaluated_at is null order by r.backstop, r.ref`,
  );
  let omitted = 0;
  for (const { id, ref, isStopped } of rules) {
    if (isStopped) {
      services.log.error(
        { event, rule: ref, tries },
        "evaluating this rule ended the process: it is stopped for this event",
      );
      continue;
    }
    const [marker] = (await rows<{ id: string }>(
      services.db,
      sql`insert into attune.rule_evaluation (event, rule, rule_revision, matched, detail)
        select ${event}::bigint, r.id, r.revision, false, ${JSON.stringify([begun])}::text::jsonb
        from attune.rule r where r.id = ${id}::bigint returning id::text`,
    )) as [{ id: string }?];
    try {
      omitted += await write(services, (tx) => enforceRule(tx, ruleSets, event, id));
    } catch (error) {
      // The process has not ended.
      await rows(services.db, sql`delete from attune.rule_evaluation where id = ${marker?.id ?? null}::bigint`);
      throw error;
    }
  }
  await write(services, (tx) => concludeEvent(tx, event, omitted));
}
