import { z } from "zod";
import { ForbiddenError, NotFoundError, nounOf } from "../errors.ts";
import { type Constraints, constraintsOf, isWider, meets, type Target } from "./constraints.ts";
import type { Session } from "./session.ts";

/** The resources that grants can name: the entities of the API, the system, and the retention of records. */
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
  "system",
  "retention",
] as const;
export type Resource = (typeof resources)[number];

/** A resource and an action, such as `rule:create`. */
export type Permission = `${Resource}:${string}`;

/** Returns the resource and the action of a permission. */
export function readPermission(permission: Permission): [Resource, string] {
  const [resource, action = ""] = permission.split(":");
  return [resource as Resource, action]; // by its type
}

/** Allows the actions on the resource; `*` means every resource or every action. There are no denials. */
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

/** The grants of a permission set in a pack's files and in the API's input. Unknown fields are refused. */
export const grantList = z.array(grantOf(z.array(ref).min(1).max(100))).max(200);

const storedGrant = grantOf(z.array(ref).min(1));

/**
 * Returns the stored grants that this version can read. Any other, such as one with an unknown constraint, is left out, because
 * ignoring the unknown part would widen it.
 */
export function readGrants(stored: readonly unknown[]): Grant[] {
  return stored.flatMap((grant) => storedGrant.safeParse(grant).data ?? []);
}

/** Grants every action on every resource. */
export const everyGrant: readonly Grant[] = [{ resource: "*", actions: ["*"] }];

/** Returns the target of a row whose ref is `pack.name`. */
export function targetOf(ref: string, ownerId: bigint | null = null): Target {
  return { ref, packRef: ref.split(".", 1)[0] ?? "", ownerId };
}

const covers = (grant: Grant, resource: string, action: string) =>
  (grant.resource === "*" || grant.resource === resource) &&
  (grant.actions.includes("*") || grant.actions.includes(action));

/** Returns the session's grants for the resource and action, whatever their constraints. */
export function grantsFor({ grants }: Session, resource: Resource, action: string): Grant[] {
  return grants.filter((grant) => covers(grant, resource, action));
}

/** Returns whether the session may perform the action on the target or, without a target, on any row. */
export function may(session: Session, resource: Resource, action: string, target?: Target): boolean {
  return grantsFor(session, resource, action).some(
    ({ constraints }) => !target || !constraints || meets(constraints, target, session),
  );
}

/** Returns whether the session may know of the target: it may read it or perform the action on it. */
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
  return new ForbiddenError(`You may not ${action} ${what}: it requires a grant of ${resource}:${action}.`);
}

/** Throws ForbiddenError unless the session has one of these permissions, such as `rule:create`, on any row. */
export function authorizeAny(session: Session, permissions: readonly Permission[]): void {
  const allowed = permissions.some((permission) => may(session, ...readPermission(permission)));
  if (!allowed) throw new ForbiddenError(`You may not do this: it requires a grant of ${permissions.join(" or ")}.`);
}

/** What a session may do with a row without a grant, such as with the caller's own rows. */
export type ImplicitAccess = "read" | "everything" | null;

/** How access to the rows of a resource is decided. */
export interface Description<T> {
  resource: Resource;
  /** The values of the row that constraints compare. */
  target(row: T): Target;
  /** By default null. */
  implicit?(row: T, session: Session): ImplicitAccess;
}

/** Returns whether the session may perform the action on the row, by a grant or implicitly. */
export function mayWith<T>(
  session: Session,
  action: string,
  row: T,
  { resource, target, implicit }: Description<T>,
): boolean {
  const access = implicit?.(row, session) ?? null;
  if (access === "everything" || (access === "read" && action === "read")) return true;
  return may(session, resource, action, target(row));
}

/** Returns whether the session may know of the row: it may read it or perform the action on it. */
export function knows<T>(session: Session, action: string, row: T, description: Description<T>): boolean {
  return mayWith(session, "read", row, description) || mayWith(session, action, row, description);
}

/**
 * Returns the row that a verb has looked up if the session may perform the action on it. Throws NotFoundError when there is no row or
 * the session may not know of it, which callers cannot distinguish; ForbiddenError when it may only read the row.
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

/** Returns whether `held` includes all that `wanted` allows: identities can grant only what they hold. */
export function holds(held: readonly Grant[], wanted: Grant): boolean {
  return wanted.actions.every((action) =>
    held.some(
      (own) => covers(own, wanted.resource, action) && isWider(own.constraints ?? {}, wanted.constraints ?? {}),
    ),
  );
}

/** Throws ForbiddenError, naming the first grant that the session does not hold. */
export function requireHeld(session: Session, wanted: readonly Grant[]): void {
  const missing = wanted.find((grant) => !holds(session.grants, grant));
  if (missing) throw new ForbiddenError(`You may not grant ${describe(missing)}: you do not hold it yourself.`);
}

function describe({ resource, actions, constraints }: Grant): string {
  const within = constraints && Object.keys(constraints).length > 0 ? ` within ${JSON.stringify(constraints)}` : "";
  return `${actions.map((action) => `${resource}:${action}`).join(", ")}${within}`;
}

/** Returns the grants of `wanted` that `held` includes. */
export function narrow(held: readonly Grant[], wanted: readonly Grant[]): Grant[] {
  return wanted.filter((grant) => holds(held, grant));
}
