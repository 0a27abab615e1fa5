import { findRow } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import type { Db } from "../db/client.ts";
import { ConflictError, invalid } from "../errors.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { createOthers, type Others } from "./backstop.ts";
import { checkNewRule, checkRule, type NewRule } from "./definition.ts";
import { type CompiledRule, compileDraft, compileNew } from "./ruleset.ts";

/** Contents of a rule that decide which events it matches and what it starts with; what is undefined is as it is stored. */
export interface OtherContents {
  condition?: "any" | "all" | undefined;
  conditions?: Json[] | undefined;
  actionParams?: JsonObject | undefined;
  window?: unknown;
  activeHours?: unknown;
  backstop?: boolean | undefined;
}

/** A rule to try: a stored one, by its ref and with other contents, or a draft of one that does not exist. Exactly one of both is given. */
export interface Tried {
  rule: string | null;
  contents: OtherContents;
  draft: NewRule | null;
}

/** A rule to try, compiled. */
export interface CompiledDraft {
  /** Null: the rule does not exist. */
  id: bigint | null;
  triggerRef: string;
  rule: CompiledRule;
  /** As it is stored: the same object when that matches the same; null: it does not exist. */
  live: CompiledRule | null;
  /** What decides about it if it is a backstop. */
  others: Others;
}

/**
 * Compiles a rule to try. The session must be allowed to change the stored rule so, or to create the draft. Throws NotFoundError, ForbiddenError,
 * InvalidInputError, ConflictError.
 */
export async function compileTried(db: Db, session: Session, tried: Tried): Promise<CompiledDraft> {
  if ((tried.rule === null) === (tried.draft === null)) {
    throw invalid("rule", "must be given, or else draft: one of the two");
  }
  return tried.draft ? await compileUnsaved(db, session, tried.draft) : await compileStored(db, session, tried);
}

async function compileUnsaved(db: Db, session: Session, draft: NewRule): Promise<CompiledDraft> {
  const columns = await checkNewRule({ db }, session, draft);
  const { triggerRef } = columns;
  const rule = await compileNew(db, columns);
  if (rule === null) throw new ConflictError(`The pack "${columns.packRef}" was deleted meanwhile.`);
  return { id: null, triggerRef, rule, live: null, others: createOthers(db, session, { triggerRef, except: null }) };
}

async function compileStored(db: Db, session: Session, { rule: ref, contents }: Tried): Promise<CompiledDraft> {
  const stored = await findRow(db, session, { of: "rule", doing: "update", which: { ref: ref ?? "" } });
  const changes = Object.fromEntries(Object.entries(contents).filter(([, value]) => value !== undefined));
  const { triggerRef, id } = stored;
  const isOther = Object.keys(changes).some((name) => name !== "actionParams");
  const live = await compileDraft(db, id, {});
  const rule = Object.keys(changes).length === 0 ? live : await compileChanged(db, session, stored, changes);
  if (rule === null || live === null) throw new ConflictError(`The rule "${ref}" was deleted meanwhile.`);
  const others = createOthers(db, session, { triggerRef, except: id });
  return { id, triggerRef, rule, live: isOther ? live : rule, others };
}

type StoredRule = Awaited<ReturnType<typeof findRow<"rule">>>;

/** Other contents than the stored ones are checked as if they were saved. */
async function compileChanged(db: Db, session: Session, stored: StoredRule, changes: OtherContents) {
  const checked = await checkRule(db, session, { ...stored, ...changes });
  const { condition, conditions, actionParams, window, activeHours, backstop } = checked;
  return await compileDraft(db, stored.id, {
    ...{ condition, conditions: conditions as Json[], actionParams, backstop },
    // As checkRule returns them.
    ...{ window: window as CompiledRule["window"], activeHours: activeHours as CompiledRule["activeHours"] },
  });
}
