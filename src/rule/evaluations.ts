import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import type { Evaluation } from "./match.ts";

/** Stores evaluations; those that a window or a limit has to decide about are pending. */
export async function insertEvaluations(tx: Tx, evaluations: readonly Evaluation[]): Promise<void> {
  if (evaluations.length === 0) return;
  const input = evaluations.map(({ rule, event, matched, detail, hold }) => ({
    event: event.id,
    rule: rule.id,
    rule_revision: rule.revision,
    matched,
    detail,
    held: hold?.held ?? null,
    key: hold?.key.text ?? null,
    key_hash: hold?.key.hash ?? null,
  }));
  if (evaluations.some(({ hold }) => hold !== null)) tx.announce("window");
  await rows(
    tx.db,
    // What a window decides about is one of each kind for (rule, event), also when an event is evaluated again rule by rule.
    sql`insert into attune.rule_evaluation (event, rule, rule_revision, matched, detail, held, pending, key, key_hash)
      select event, rule, rule_revision, matched, detail, held, held is not null, key, key_hash
      from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb) as r(event bigint, rule bigint, rule_revision int,
        matched boolean, detail jsonb, held text, key text, key_hash text)
      on conflict (rule, event, matched) where key_hash is not null do nothing`,
  );
}
