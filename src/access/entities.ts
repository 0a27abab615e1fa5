import { type InferSelectModel, sql } from "drizzle-orm";
import type { PgTable } from "drizzle-orm/pg-core";
import { type Db, rows } from "../db/client.ts";
import { action } from "../db/tables/action.ts";
import { artifact } from "../db/tables/artifact.ts";
import { enforcement } from "../db/tables/enforcement.ts";
import { event } from "../db/tables/event.ts";
import { execution } from "../db/tables/execution.ts";
import { identity } from "../db/tables/identity.ts";
import { key } from "../db/tables/key.ts";
import { pack } from "../db/tables/pack.ts";
import { permissionSet } from "../db/tables/permission.ts";
import { policy } from "../db/tables/policy.ts";
import { rule } from "../db/tables/rule.ts";
import { runtime } from "../db/tables/runtime.ts";
import { sensor } from "../db/tables/sensor.ts";
import { trigger } from "../db/tables/trigger.ts";
import { worker } from "../db/tables/worker.ts";
import { workflowDefinition } from "../db/tables/workflow.ts";
import type { Target } from "./constraints.ts";
import { type ImplicitAccess, targetOf } from "./grants.ts";
import type { Session } from "./session.ts";

/** How verbs find the rows of a table, and the values that grants compare. */
export interface Entity<T extends PgTable, By extends string> {
  table: T;
  /** The column that callers use to name a row. */
  by: By;
  target(row: InferSelectModel<T>, db: Db): Target | Promise<Target>;
  implicit?(row: InferSelectModel<T>, session: Session): ImplicitAccess;
}

const entity = <T extends PgTable, const By extends "ref" | "login" | "id">(of: Entity<T, By>) => of;

const ofRef = ({ ref }: { ref: string }) => targetOf(ref);

/** Every resource whose rows verbs change. */
export const entities = {
  pack: entity({ table: pack, by: "ref", target: ofRef }),
  runtime: entity({ table: runtime, by: "ref", target: ofRef }),
  action: entity({ table: action, by: "ref", target: ofRef }),
  trigger: entity({ table: trigger, by: "ref", target: ofRef }),
  sensor: entity({ table: sensor, by: "ref", target: ofRef }),
  policy: entity({ table: policy, by: "ref", target: ofRef }),
  workflow_definition: entity({ table: workflowDefinition, by: "ref", target: ofRef }),
  permission_set: entity({ table: permissionSet, by: "ref", target: ofRef }),
  rule: entity({ table: rule, by: "ref", target: ({ ref, ownerId }) => targetOf(ref, ownerId) }),
  event: entity({ table: event, by: "id", target: ({ triggerRef }) => targetOf(triggerRef) }),
  enforcement: entity({ table: enforcement, by: "id", target: ({ ruleRef }) => targetOf(ruleRef) }),
  execution: entity({
    table: execution,
    by: "id",
    target: ({ actionRef, executorId }) => targetOf(actionRef, executorId),
  }),
  worker: entity({ table: worker, by: "id", target: ({ name }) => ({ ref: name }) }),
  identity: entity({
    table: identity,
    by: "login",
    target: ({ id, login }) => ({ ref: login, ownerId: id }),
    implicit: ({ id }, { identityId }) => (id === identityId ? "read" : null),
  }),
  key: entity({ table: key, by: "ref", target: targetOfKey, implicit: implicitAccessToKey }),
  artifact: entity({
    table: artifact,
    by: "id",
    target: async (row, db) => ({ ref: row.ref, ownerId: await findArtifactOwner(db, row) }),
    implicit: ({ visibility }) => (visibility === "public" ? "read" : null),
  }),
};

/** The columns of a key that grants compare. */
export type KeyFacts = Pick<typeof key.$inferSelect, "ref" | "ownerType" | "owner" | "ownerIdentityId">;

/** Returns the values of a key that grants compare. */
export function targetOfKey({ ref, ownerType, owner, ownerIdentityId }: KeyFacts): Target {
  return { ref, packRef: ownerType === "pack" ? owner : null, ownerId: ownerIdentityId };
}

/** The caller's own keys need no grant, except with a narrowed token, such as every execution's. */
export function implicitAccessToKey({ ownerIdentityId }: KeyFacts, { identityId, narrowed }: Session): ImplicitAccess {
  return ownerIdentityId !== null && ownerIdentityId === identityId && !narrowed ? "everything" : null;
}

/** Returns the identity that owns the artifact; null in the other scopes. */
async function findArtifactOwner(
  db: Db,
  { scope, owner }: Pick<typeof artifact.$inferSelect, "scope" | "owner">,
): Promise<bigint | null> {
  if (scope !== "identity") return null;
  const [found] = await rows<{ id: string }>(db, sql`select id::text from attune.identity where login = ${owner}`);
  return found ? BigInt(found.id) : null;
}
