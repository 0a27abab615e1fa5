import { eq } from "drizzle-orm";
import { z } from "zod";
import { authorize, targetOf } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { action } from "../db/tables/action.ts";
import { pack } from "../db/tables/pack.ts";
import { policy } from "../db/tables/policy.ts";
import type { Tx } from "../db/tx.ts";
import { InvalidInputError, type Issue, NotFoundError } from "../errors.ts";
import { checkInput, componentRef } from "../schema/input.ts";
import { description, kept, label, text, texts } from "./fields.ts";
import { deleteRow, findPackOf, insertNew, isEmpty, lockByRef, updateRow, type Which } from "./row-kit.ts";

/** What people may say of a policy; what is left out has its default or, in an update, stays. Null empties what can be empty. */
export interface PolicyFields {
  name?: string | null;
  description?: string | null;
  enabled?: boolean | null;
  priority?: number | null;
  /** Whose executions it is about: those of one action, else of one pack's actions, else all. */
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
const count = z.int().min(1).max(largest).nullish();
const policyFields = z.object({
  name: kept(label),
  description: description.nullish(),
  enabled: kept(z.boolean()),
  priority: kept(z.int().min(-largest).max(largest)),
  action: z.string().max(200).nullish(),
  pack: z.string().max(200).nullish(),
  parameters: kept(z.array(text(200).min(1)).max(10)),
  method: z.enum(["cancel", "enqueue"]).nullish(),
  threshold: count,
  rateMax: count,
  rateWindowSeconds: count,
  tags: kept(texts),
});

/**
 * Makes a policy. Throws InvalidInputError, NotFoundError (the pack of its ref; the action or pack that it is about),
 * ForbiddenError (also where the session may not do so for what it is about), ConflictError (the ref is taken).
 */
export async function createPolicy(
  tx: Tx,
  session: Session,
  input: PolicyFields & { ref: string },
): Promise<{ id: bigint }> {
  const { action: actionRef, pack: packRef, ...fields } = checkInput(policyFields.extend({ ref: componentRef }), input);
  authorize(session, "policy", "create", targetOf(fields.ref));
  checkLimits({ ...unlimited, ...fields, action: actionRef, pack: packRef });
  await findPackOf(tx, fields.ref);
  const scope = await findScope(tx, { action: actionRef ?? null, pack: packRef ?? null });
  authorizeScope(session, { ref: fields.ref, doing: "create" }, scope);
  return await insertNew(tx, policy, { ...fields, ...columnsOf(scope), name: fields.name ?? fields.ref });
}

/** Changes what the patch names. Throws NotFoundError, InvalidInputError, ForbiddenError, ConflictError. */
export async function updatePolicy(
  tx: Tx,
  session: Session,
  input: Which & { patch: PolicyFields },
): Promise<{ id: bigint }> {
  authorize(session, "policy", "update", targetOf(input.ref));
  const given = checkInput(policyFields, input.patch);
  const { action: actionRef, pack: packRef, ...fields } = given;
  const stored = await lockByRef(tx, policy, input);
  if (isEmpty(given)) return { id: stored.id };
  const was = await refsOfScope(tx, stored);
  const scopeRefs = {
    action: actionRef === undefined ? was.action : actionRef,
    pack: packRef === undefined ? was.pack : packRef,
  };
  const defined = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  checkLimits({ ...stored, ...defined, ...scopeRefs });
  const scope = await findScope(tx, scopeRefs);
  for (const about of [await findScope(tx, was), scope]) {
    authorizeScope(session, { ref: input.ref, doing: "update" }, about);
  }
  await updateRow(tx, policy, { id: stored.id, fields: { ...fields, ...columnsOf(scope) } });
  return { id: stored.id };
}

/** Deletes a policy. Throws NotFoundError, ForbiddenError. */
export async function deletePolicy(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  authorize(session, "policy", "delete", targetOf(ref));
  const stored = await lockByRef(tx, policy, { ref });
  authorizeScope(session, { ref, doing: "delete" }, await findScope(tx, await refsOfScope(tx, stored)));
  await deleteRow(tx, policy, stored.id);
  return { id: stored.id, ref };
}

const unlimited = { method: null, threshold: null, rateMax: null, rateWindowSeconds: null };

type Limits = Pick<PolicyFields, keyof typeof unlimited | "action" | "pack">;

/** What the table's checks say, each at the field that is to be given or left out. */
function checkLimits({ method, threshold, rateMax, rateWindowSeconds, ...about }: Limits): void {
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
  if (about.action && about.pack) {
    issues.push({ path: "pack", message: "must be left out where an action is given: the action decides" });
  }
  if (issues.length > 0) throw new InvalidInputError(issues);
}

interface Scope {
  action: bigint | null;
  pack: bigint | null;
  /** The pack whose executions it is about; null: those of every pack. */
  packRef: string | null;
}

const columnsOf = (scope: Scope) => ({ actionId: scope.action, packId: scope.pack });

/** A limit on all, or on another pack, takes a grant that reaches as far; its ref's own pack says nothing about that. */
function authorizeScope(session: Session, { ref, doing }: { ref: string; doing: string }, { packRef }: Scope): void {
  authorize(session, "policy", doing, { ref, packRef });
}

async function findScope(tx: Tx, about: { action: string | null; pack: string | null }): Promise<Scope> {
  if (about.action !== null) {
    const [found] = await tx.db.select({ id: action.id }).from(action).where(eq(action.ref, about.action));
    if (!found) throw new NotFoundError("action", about.action);
    return { action: found.id, pack: null, packRef: about.action.split(".", 1)[0] ?? "" };
  }
  if (about.pack === null) return { action: null, pack: null, packRef: null };
  const { id, ref } = await findPackOf(tx, about.pack);
  return { action: null, pack: id, packRef: ref };
}

async function refsOfScope(
  tx: Tx,
  { actionId, packId }: { actionId: bigint | null; packId: bigint | null },
): Promise<{ action: string | null; pack: string | null }> {
  const [about] =
    actionId === null ? [] : await tx.db.select({ ref: action.ref }).from(action).where(eq(action.id, actionId));
  const [within] = packId === null ? [] : await tx.db.select({ ref: pack.ref }).from(pack).where(eq(pack.id, packId));
  return { action: about?.ref ?? null, pack: within?.ref ?? null };
}
