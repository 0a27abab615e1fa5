import { sql } from "drizzle-orm";
import { deleteRow, insertRow, isEmpty, lockRow, type Row, updateRow, type Which } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import { checkPatch } from "../schema/fields.ts";
import { checkNewRule, checkRule, type NewRule, type RuleFields, requireReach, ruleFields } from "./definition.ts";
import { syncTimer } from "./timer.ts";

/**
 * Creates a rule in the pack of its ref. Throws InvalidInputError (each issue with its path), NotFoundError (pack, trigger, action,
 * permission set, key), ForbiddenError, ConflictError (the ref is taken).
 */
export async function createRule(tx: Tx, session: Session, input: NewRule): Promise<{ id: bigint }> {
  const { id } = await insertRow(tx, "rule", await checkNewRule(tx, session, input));
  await syncTimer(tx, { id: String(id) });
  return { id };
}

/**
 * Changes the fields in the patch. The session's identity becomes the rule's owner, because a rule runs with its owner's grants.
 * Throws NotFoundError, InvalidInputError, ForbiddenError, and ConflictError for a rule of a pack's files and when it has changed
 * since `expectedUpdated`.
 */
export async function updateRule(
  tx: Tx,
  session: Session,
  input: Which<"rule"> & { patch: RuleFields },
): Promise<{ id: bigint }> {
  const patch = checkPatch(ruleFields, input.patch);
  const stored = await lockRow(tx, session, { of: "rule", doing: "update", which: input });
  if (isEmpty(patch)) return { id: stored.id };
  requireAdhoc(stored, "it can only be enabled or disabled");
  const { action: actionRef = stored.actionRef, trigger: triggerRef = stored.triggerRef, ...fields } = patch;
  const columns = await checkRule(tx.db, session, { ...stored, ...fields, actionRef, triggerRef });
  await updateRow(tx, "rule", { id: stored.id, fields: { ...columns, ownerId: session.identityId } });
  await syncTimer(tx, { id: String(stored.id) });
  return { id: stored.id };
}

/**
 * Enables or disables a rule; does nothing when it already is. Throws NotFoundError, ForbiddenError, and ConflictError when it cannot be
 * enabled because its action or its trigger does not exist.
 */
export async function setRuleEnabled(
  tx: Tx,
  session: Session,
  input: { ref: string; enabled: boolean },
): Promise<{ id: bigint }> {
  const stored = await lockRow(tx, session, { of: "rule", doing: "update", which: { ref: input.ref } });
  const { id, enabled } = stored;
  if (enabled !== input.enabled) {
    if (input.enabled) {
      requireReach(session, stored, { action: stored, trigger: stored });
      requireTargets(stored);
    }
    await updateRow(tx, "rule", { id, fields: { enabled: input.enabled } });
    await syncTimer(tx, { id: String(id) }, { mayHavePassed: true });
  }
  return { id };
}

/**
 * Lets a rule that has tripped start its action again at once; with `windows`, its windows also forget what they know. Throws NotFoundError,
 * ForbiddenError.
 */
export async function resetRule(
  tx: Tx,
  session: Session,
  { ref, windows }: { ref: string; windows: boolean },
): Promise<{ id: bigint }> {
  const { id } = await lockRow(tx, session, { of: "rule", doing: "update", which: { ref } });
  await tx.db.execute(sql`delete from attune.rule_budget where rule = ${String(id)}::bigint`);
  if (windows) await tx.db.execute(sql`delete from attune.rule_window where rule = ${String(id)}::bigint`);
  return { id };
}

/** Deletes a rule; its enforcements and executions keep its ref. Throws NotFoundError, ForbiddenError, ConflictError (a pack's file). */
export async function deleteRule(
  tx: Tx,
  session: Session,
  input: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const stored = await lockRow(tx, session, { of: "rule", doing: "delete", which: input });
  requireAdhoc(stored, "it is deleted with its pack; disable it instead");
  await deleteRow(tx, "rule", stored.id);
  return { id: stored.id, ref: input.ref };
}

/** A rule keeps the refs of what was deleted, and is bound again when that comes back. */
function requireTargets({ ref, actionId, actionRef, triggerId, triggerRef }: Row<"rule">): void {
  const missing = [
    ...(actionId === null ? [`its action "${actionRef}"`] : []),
    ...(triggerId === null ? [`its trigger "${triggerRef}"`] : []),
  ];
  if (missing.length === 0) return;
  throw new ConflictError(
    `The rule "${ref}" cannot be enabled, because ${missing.join(" and ")} no longer exist${missing.length === 1 ? "s" : ""}: create what is missing again, or change the rule.`,
  );
}

/** A rule of a pack's files has no owner and runs with the pack's permissions: only the files may change it. */
function requireAdhoc({ ref, isAdhoc }: Row<"rule">, instead: string): void {
  if (!isAdhoc) throw new ConflictError(`The rule "${ref}" comes from its pack's files: ${instead}.`);
}
