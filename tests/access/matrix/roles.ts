import type { Grant } from "../../../src/access/grants.ts";

/** The values that a grant's constraints are compared with; null where rows of the type have none. */
export interface Facts {
  id: string;
  ref: string | null;
  pack: string | null;
  owner: string | null;
  /** Readable without a grant, by the identity that it concerns. */
  always: boolean;
}

/** A caller: all roles have the same identity and differ in their grants. */
export interface Role {
  name: string;
  identity: string;
  grants: readonly Grant[];
}

/** Whether the role's grants allow it: implemented here again, from the documentation. */
export function allows({ grants, identity }: Role, resource: string, action: string, facts: Facts): boolean {
  const granted = grants.some((grant) => {
    if (![resource, "*"].includes(grant.resource)) return false;
    if (!grant.actions.includes(action) && !grant.actions.includes("*")) return false;
    const { pack_refs, refs, except_refs, owner } = grant.constraints ?? {};
    if (pack_refs && (facts.pack === null || !pack_refs.includes(facts.pack))) return false;
    if (refs && (facts.ref === null || !refs.includes(facts.ref))) return false;
    if (except_refs && facts.ref !== null && except_refs.includes(facts.ref)) return false;
    return !owner || facts.owner === identity;
  });
  return granted || (action === "read" && facts.always);
}

/** Whether the role holds any such grant, with any constraints. */
export function holdsAny({ grants }: Role, permission: string): boolean {
  const [resource = "", action = ""] = permission.split(":");
  return grants.some(
    (grant) =>
      [resource, "*"].includes(grant.resource) && (grant.actions.includes(action) || grant.actions.includes("*")),
  );
}

/** Whether the role holds it without any constraint. */
export function holdsWholly(role: Role, permission: string): boolean {
  const whole = role.grants.filter(({ constraints = {} }) => Object.values(constraints).every((each) => !each));
  return holdsAny({ ...role, grants: whole }, permission);
}

const all = (constraints: NonNullable<Grant["constraints"]>): Grant[] => [
  { resource: "*", actions: ["*"], constraints },
];

/** The roles of the core pack, and identities with one constraint each; `core` are the pack's sets as they are stored. */
export function rolesOf(
  core: ReadonlyMap<string, readonly Grant[]>,
  identity: string,
  refs: { own: string[]; others: string[] },
): Role[] {
  const grants: Record<string, readonly Grant[]> = {
    ...Object.fromEntries(core),
    pack_refs: all({ pack_refs: ["alpha"] }),
    refs: all({ refs: refs.own }),
    except_refs: all({ except_refs: refs.others }),
    "owner: self": all({ owner: "self" }),
    "pack_refs and owner": all({ pack_refs: ["alpha"], owner: "self" }),
    "without grants": [],
  };
  return Object.entries(grants).map(([name, held]) => ({ name, identity, grants: held }));
}
