import { z } from "zod";
import { ForbiddenError, NotFoundError, nounOf } from "../errors.ts";
import { type Constraints, constraintsOf, isWider, meets, type Target } from "./constraints.ts";
import type { Session } from "./session.ts";

/** What can be granted on: the tables that have rows of their own in the API. */
export const resources = [
  "pack",
  "runtime",
  "action",
  "trigger",
  "sensor",
  "rule",
  "event",
  "enforcement",
  "execution",
  "inquiry",
  "identity",
  "permission_set",
  "token",
  "key",
  "artifact",
  "notification",
  "worker",
  "policy",
  "workflow_definition",
  "audit_event",
] as const;
export type Resource = (typeof resources)[number];

/** A resource and an action, such as `rule:create`. */
export type Permission = `${Resource}:${string}`;

/** Splits a permission into its resource and its action. */
export function readPermission(permission: Permission): [Resource, string] {
  const [resource, action = ""] = permission.split(":");
  return [resource as Resource, action]; // by its type
}

/** Allows those actions on that resource; `*` is every resource, or every action. Nothing forbids. */
export interface Grant {
  resource: string;
  actions: string[];
  constraints?: Constraints | undefined;
}

const grantOf = (refs: z.ZodType<string[]>) =>
  z.strictObject({
    resource: z.enum([...resources, "*"]),
    actions: z
      .array(z.string().regex(/^([a-z][a-z_]*|\*)$/, 'expected "*" or a lower-case name such as "read"'))
      .min(1)
      .max(20),
    constraints: constraintsOf(refs).optional(),
  });

const ref = z.string().min(1).max(200);

/** A permission set's grants, as a pack's files and the API give them. Anything unknown in one is refused. */
export const grantList = z.array(grantOf(z.array(ref).min(1).max(100))).max(200);

const storedGrant = grantOf(z.array(ref).min(1));

/**
 * Returns the stored grants that can be read. One that cannot, such as one with a constraint that this version does not know,
 * grants nothing: ignoring the unknown part would widen it.
 */
export function readGrants(stored: readonly unknown[]): Grant[] {
  return stored.flatMap((grant) => storedGrant.safeParse(grant).data ?? []);
}

/** Everything, without a constraint. */
export const everyGrant: readonly Grant[] = [{ resource: "*", actions: ["*"] }];

/** The target of something known by a ref `pack.name`. */
export function targetOf(ref: string, ownerId: bigint | null = null): Target {
  return { ref, packRef: ref.split(".", 1)[0] ?? "", ownerId };
}

const covers = (grant: Grant, resource: string, action: string) =>
  (grant.resource === "*" || grant.resource === resource) &&
  (grant.actions.includes("*") || grant.actions.includes(action));

/** The grants for the resource and action, with any constraints. */
export function grantsFor({ grants }: Session, resource: Resource, action: string): Grant[] {
  return grants.filter((grant) => covers(grant, resource, action));
}

/** Whether the session may perform the action on the target; without a target: on anything at all. */
export function may(session: Session, resource: Resource, action: string, target?: Target): boolean {
  return grantsFor(session, resource, action).some(
    ({ constraints }) => !target || !constraints || meets(constraints, target, session),
  );
}

/** Whether the session may know of the target: it may read it, or perform the action on it. */
export function mayKnow(session: Session, resource: Resource, action: string, target: Target): boolean {
  return may(session, resource, "read", target) || may(session, resource, action, target);
}

/** Throws ForbiddenError unless the session may perform the action on the target. */
export function authorize(session: Session, resource: Resource, action: string, target: Target): void {
  if (!may(session, resource, action, target)) throw forbidden(resource, action, target);
}

function forbidden(resource: Resource, action: string, { ref }: Target): ForbiddenError {
  const noun = nounOf(resource);
  const what = ref ? `the ${noun} "${ref}"` : `this ${noun}`;
  return new ForbiddenError(`You may not ${action} ${what}: it takes a grant of ${resource}:${action}.`);
}

/** Throws ForbiddenError unless the session has one of these permissions, such as `rule:create`, on anything at all. */
export function authorizeAny(session: Session, permissions: readonly Permission[]): void {
  const allowed = permissions.some((permission) => may(session, ...readPermission(permission)));
  if (!allowed) throw new ForbiddenError(`You may not do this: it takes a grant of ${permissions.join(" or ")}.`);
}

/** What a session may do with a row without holding a grant for it. */
export type Standing = "read" | "everything" | null;

/** How rows of a resource are known to grants. */
export interface Description<T> {
  resource: Resource;
  /** What the row says to a grant's constraints. */
  target(row: T): Target;
  /** Nothing where it is left out. */
  standing?(row: T, session: Session): Standing;
}

/** Whether the session may do that to the row, by a grant or without one. */
export function mayWith<T>(
  session: Session,
  action: string,
  row: T,
  { resource, target, standing }: Description<T>,
): boolean {
  const without = standing?.(row, session) ?? null;
  if (without === "everything" || (without === "read" && action === "read")) return true;
  return may(session, resource, action, target(row));
}

/** Whether the session may know of the row: it may read it, or do that to it. */
export function knows<T>(session: Session, action: string, row: T, description: Description<T>): boolean {
  return mayWith(session, "read", row, description) || mayWith(session, action, row, description);
}

/**
 * The one rule for whatever a verb looks up: returns the row if the session may do that to it. Throws NotFoundError where there is
 * no row and where the session may neither read it nor do that to it, which it cannot tell apart; ForbiddenError where it may
 * read the row, but not do that to it.
 */
export function authorizeFound<T>(
  session: Session,
  action: string,
  row: T | null | undefined,
  description: Description<T> & { name: string },
): T {
  const { resource, name, target } = description;
  if (row === null || row === undefined || !knows(session, action, row, description)) {
    throw new NotFoundError(resource, name);
  }
  if (!mayWith(session, action, row, description)) throw forbidden(resource, action, target(row));
  return row;
}

/** Whether `held` includes all that `wanted` allows: identities can grant only what they hold. */
export function holds(held: readonly Grant[], wanted: Grant): boolean {
  return wanted.actions.every((action) =>
    held.some(
      (own) => covers(own, wanted.resource, action) && isWider(own.constraints ?? {}, wanted.constraints ?? {}),
    ),
  );
}

/** Throws ForbiddenError, naming the first grant that the session does not hold itself. */
export function requireHeld(session: Session, wanted: readonly Grant[]): void {
  const missing = wanted.find((grant) => !holds(session.grants, grant));
  if (missing) throw new ForbiddenError(`You may not grant ${describe(missing)}: you do not hold it yourself.`);
}

function describe({ resource, actions, constraints }: Grant): string {
  const within = constraints && Object.keys(constraints).length > 0 ? ` within ${JSON.stringify(constraints)}` : "";
  return `${actions.map((action) => `${resource}:${action}`).join(", ")}${within}`;
}

/** The grants of `wanted` that `held` includes. */
export function narrow(held: readonly Grant[], wanted: readonly Grant[]): Grant[] {
  return wanted.filter((grant) => holds(held, grant));
}
