import { eq } from "drizzle-orm";
import { z } from "zod";
import type { Target } from "../access/constraints.ts";
import { authorize, may } from "../access/grants.ts";
import {
  deleteRow,
  findPackForNew,
  findRow,
  insertRow,
  isEmpty,
  lockRow,
  type Row,
  updateRow,
  type Which,
} from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { action } from "../db/tables/action.ts";
import { pack } from "../db/tables/pack.ts";
import type { Tx } from "../db/tx.ts";
import { InvalidInputError, type Issue } from "../errors.ts";
import { checkNew, checkPatch, description, label, text, texts } from "../schema/fields.ts";
import { componentRef } from "../schema/input.ts";
import { applyLimits, readmit } from "./readmit.ts";

/** The fields of a policy that users set. A missing field has its default or, in an update, is unchanged. */
export interface PolicyFields {
  name?: string | null;
  description?: string | null;
  enabled?: boolean | null;
  priority?: number | null;
  /** The executions to which it applies: those of one action, else of one pack's actions, else all. */
  action?: string | null;
  pack?: string | null;
  parameters?: string[] | null;
  method?: "cancel" | "enqueue" | null;
  threshold?: number | null;
  rateMax?: number | null;
  rateWindowSeconds?: number | null;
  tags?: string[] | null;
}

const largest = 2 ** 31 - 1;
const count = z.int().min(1).max(largest).nullable();
const path = text(200).regex(
  /^(?:[^\s./]+(?:\.[^\s./]+)*|(?:\/[^/]*)+)$/,
  'must be the path of a parameter, like "host", "target.host" or "/x.y"',
);
const policyFields = z
  .object({
    name: label,
    description: description.nullable(),
    enabled: z.boolean(),
    priority: z.int().min(-largest).max(largest),
    action: z.string().max(200).nullable(),
    pack: z.string().max(200).nullable(),
    parameters: z.array(path).max(10),
    method: z.enum(["cancel", "enqueue"]).nullable(),
    threshold: count,
    rateMax: count,
    rateWindowSeconds: count,
    tags: texts,
  })
  .partial();

/**
 * Creates a policy. Throws InvalidInputError, NotFoundError (the pack of its ref; the action or pack that it applies to),
 * ForbiddenError (also when the session may not limit all that it applies to), ConflictError (the ref is taken).
 */
export async function createPolicy(
  tx: Tx,
  session: Session,
  input: PolicyFields & { ref: string },
): Promise<{ id: bigint }> {
  const { action = null, pack = null, ...fields } = checkNew(policyFields.extend({ ref: componentRef }), input);
  checkLimits({ ...unlimited, ...fields, action, pack });
  await findPackForNew(tx, session, { of: "policy", ref: fields.ref });
  const scope = await findScope(tx, session, { ref: fields.ref, doing: "create", action, pack });
  const created = await insertRow(tx, "policy", { ...fields, ...columnsOf(scope), name: fields.name ?? fields.ref });
  await readmit(tx, created.id);
  return created;
}

/** Changes the fields that the patch names. Throws NotFoundError, InvalidInputError, ForbiddenError, ConflictError. */
export async function updatePolicy(
  tx: Tx,
  session: Session,
  input: Which<"policy"> & { patch: PolicyFields },
): Promise<{ id: bigint }> {
  const patch = checkPatch(policyFields, input.patch);
  const { action, pack, ...fields } = patch;
  const { stored, scope } = await lockPolicy(tx, session, { doing: "update", which: input });
  if (isEmpty(patch)) return { id: stored.id };
  const next = { action: action === undefined ? scope.action : action, pack: pack === undefined ? scope.pack : pack };
  checkLimits({ ...stored, ...fields, ...next });
  const columns =
    action === undefined && pack === undefined
      ? {}
      : columnsOf(await findScope(tx, session, { ref: input.ref, doing: "update", ...next }));
  await updateRow(tx, "policy", { id: stored.id, fields: { ...fields, ...columns } });
  await (regrouping.some((name) => name in patch) ? readmit(tx, stored.id) : applyLimits(tx, stored.id));
  return { id: stored.id };
}

/** The fields that decide to which executions a policy applies, and which of them share its limits. */
const regrouping: readonly (keyof PolicyFields)[] = ["enabled", "priority", "action", "pack", "parameters"];

/** Enables or disables a policy. Throws NotFoundError, ForbiddenError. */
export async function setPolicyEnabled(
  tx: Tx,
  session: Session,
  { ref, enabled }: { ref: string; enabled: boolean },
): Promise<{ id: bigint }> {
  const { stored } = await lockPolicy(tx, session, { doing: "update", which: { ref } });
  if (stored.enabled === enabled) return { id: stored.id };
  await updateRow(tx, "policy", { id: stored.id, fields: { enabled } });
  await readmit(tx, stored.id);
  return { id: stored.id };
}

/** Deletes a policy. Executions that wait for its slots are admitted without it. Throws NotFoundError, ForbiddenError. */
export async function deletePolicy(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const { stored } = await lockPolicy(tx, session, { doing: "delete", which: { ref } });
  // First as if it were disabled: what waits for it is admitted without it.
  await updateRow(tx, "policy", { id: stored.id, fields: { enabled: false } });
  await readmit(tx, stored.id);
  await deleteRow(tx, "policy", stored.id);
  return { id: stored.id, ref };
}

const unlimited = { method: null, threshold: null, rateMax: null, rateWindowSeconds: null };

type Limits = Pick<PolicyFields, keyof typeof unlimited | "action" | "pack">;

/** Checks the same as the table's constraints, with an issue at each field. Throws InvalidInputError. */
function checkLimits({ method, threshold, rateMax, rateWindowSeconds, ...scope }: Limits): void {
  const issues: Issue[] = [];
  const together = (a: [string, unknown], b: [string, unknown]) => {
    const [without, other] = (a[1] ?? null) === null ? [a, b] : [b, a];
    if ((without[1] ?? null) === null && (other[1] ?? null) !== null) {
      issues.push({ path: without[0], message: `must be given together with ${other[0]}` });
    }
  };
  together(["method", method], ["threshold", threshold]);
  together(["rateMax", rateMax], ["rateWindowSeconds", rateWindowSeconds]);
  if ([method, threshold, rateMax, rateWindowSeconds].every((value) => (value ?? null) === null)) {
    issues.push({ path: "threshold", message: "is required (with method) where there is no rateMax" });
  }
  if (scope.action && scope.pack) {
    issues.push({ path: "pack", message: "must be left out when an action is given" });
  }
  if (issues.length > 0) throw new InvalidInputError(issues);
}

/** Which executions a policy applies to: those of one action, of one pack's actions, or all. */
interface Scope {
  actionId: bigint | null;
  packId: bigint | null;
  /** Their refs. */
  action: string | null;
  pack: string | null;
}

const columnsOf = ({ actionId, packId }: Scope) => ({ actionId, packId });

/** Returns the locked policy. Requires a grant for the policy and for all that it applies to. */
async function lockPolicy(
  tx: Tx,
  session: Session,
  { doing, which }: { doing: "update" | "delete"; which: Which<"policy"> },
): Promise<{ stored: Row<"policy">; scope: Scope }> {
  const stored = await lockRow(tx, session, { of: "policy", doing, which });
  const { actionId, packId } = stored;
  const [about] =
    actionId === null ? [] : await tx.db.select({ ref: action.ref }).from(action).where(eq(action.id, actionId));
  const [within] = packId === null ? [] : await tx.db.select({ ref: pack.ref }).from(pack).where(eq(pack.id, packId));
  const scope = { actionId, packId, action: about?.ref ?? null, pack: within?.ref ?? null };
  authorize(session, "policy", doing, reachOf(which.ref, scope));
  return { stored, scope };
}

/** Constraints compare the pack to which a policy applies, not the pack of its ref. */
const reachOf = (ref: string, { action, pack }: { action: string | null; pack: string | null }): Target => ({
  ref,
  packRef: action?.split(".", 1)[0] ?? pack,
});

/** Finds the action or pack to which the policy is to apply. Throws NotFoundError, and ForbiddenError if the session may not limit it. */
async function findScope(
  tx: Tx,
  session: Session,
  { ref, doing, ...about }: { ref: string; doing: "create" | "update"; action: string | null; pack: string | null },
): Promise<Scope> {
  const reach = reachOf(ref, about);
  const implicit = () => (may(session, "policy", doing, reach) ? "read" : null);
  const limited =
    about.action === null
      ? null
      : await findRow(tx.db, session, { of: "action", doing: "read", which: { ref: about.action }, implicit });
  const within =
    about.pack === null
      ? null
      : await findRow(tx.db, session, { of: "pack", doing: "read", which: { ref: about.pack }, implicit });
  authorize(session, "policy", doing, reach);
  return { actionId: limited?.id ?? null, packId: within?.id ?? null, ...about };
}
