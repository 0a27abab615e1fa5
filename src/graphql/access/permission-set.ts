import { builder } from "../kit/builder.ts";
import { byId, byOwnId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

const PermissionAssignment = builder.drizzleObject("permissionAssignments", {
  name: "PermissionAssignment",
  description: "The direct assignment of a permission set to an identity, not through a role.",
  select: { columns: { id: true } },
  fields: (t) => ({
    created: t.expose("created", { type: "DateTime", description: "When it was assigned." }),
    identity: t.relation("identity", { nullable: true, description: "The identity; null if you may not read it." }),
    permissionSet: t.relation("permissionSet", {
      nullable: true,
      description: "The permission set; null if you may not read it.",
    }),
  }),
});

/** Lists of direct assignments: filters, orders and connection. */
export const assignments = defineList("PermissionAssignment", "permissionAssignments", {
  ref: PermissionAssignment,
  where: {
    identity: byId("Identity", "identityId", "The identity."),
    permissionSet: byId("PermissionSet", "permissionSetId", "The permission set."),
    created: byTime("created", "When it was assigned."),
  },
  order: { created: "When it was assigned." },
  defaultOrder: ["created", "asc"],
});

/** A named list of grants. */
export const PermissionSet = builder.drizzleNode("permissionSets", {
  name: "PermissionSet",
  description: "A named list of grants, which identities hold directly or through their roles.",
  id: { column: (set) => set.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its ref, `pack.name`." }),
    packRef: t.exposeString("packRef", { nullable: true, description: "The ref of its pack." }),
    label: t.exposeString("label", { nullable: true, description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it is for." }),
    grants: t.expose("grants", {
      type: ["JSON"],
      description:
        'What it allows: objects such as `{"resource": "rule", "actions": ["read", "update"], "constraints": {"pack_refs": ["ops"]}}`; `*` is every resource, or every action.',
    }),
    roles: t.stringList({
      description: "The roles that include it.",
      select: { with: { roles: { columns: { role: true }, orderBy: { role: "asc" } } } },
      resolve: ({ roles }) => roles.map(({ role }) => role),
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    pack: t.relation("pack", {
      nullable: true,
      description: "The pack that defines it; null if it was created by hand.",
    }),
    assignments: t.relatedConnection(
      "assignments",
      assignments.related("Its direct assignments; identities that hold it through a role are not listed."),
      assignments.connection,
    ),
  }),
});

/** Lists of permission sets: filters, orders and connection. */
export const permissionSets = defineList("PermissionSet", "permissionSets", {
  ref: PermissionSet,
  where: {
    id: byOwnId("PermissionSet", "The permission set itself."),
    ref: byText("ref", "Its ref."),
    pack: byText("packRef", "The ref of its pack."),
    label: byText("label", "Its label."),
    description: byText("description", "Its description."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", created: "When it was created.", updated: "When it last changed." },
  defaultOrder: ["ref", "asc"],
});

addRootFields({
  table: "permissionSets",
  name: "PermissionSet",
  one: "permissionSet",
  many: "permissionSets",
  ref: PermissionSet,
  list: permissionSets,
  hasRef: true,
});
