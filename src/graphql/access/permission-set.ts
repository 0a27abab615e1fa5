import { builder } from "../kit/builder.ts";
import { byId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

const PermissionAssignment = builder.drizzleObject("permissionAssignments", {
  name: "PermissionAssignment",
  description: "That an identity has a permission set by itself, not by a role.",
  select: { columns: { id: true } },
  fields: (t) => ({
    created: t.expose("created", { type: "DateTime", description: "Since when." }),
    identity: t.relation("identity", { nullable: true, description: "Who has the set; null where you may not know." }),
    permissionSet: t.relation("permissionSet", {
      nullable: true,
      description: "The set; null where you may not know it.",
    }),
  }),
});

/** Who has which permission set by itself, wherever that is listed. */
export const assignments = defineList("PermissionAssignment", "permissionAssignments", {
  ref: PermissionAssignment,
  where: {
    identity: byId("Identity", "identityId", "Who has the set."),
    permissionSet: byId("PermissionSet", "permissionSetId", "The set."),
    created: byTime("created", "Since when."),
  },
  order: { created: "Since when." },
  defaultOrder: ["created", "asc"],
});

/** A named list of grants. */
export const PermissionSet = builder.drizzleNode("permissionSets", {
  name: "PermissionSet",
  description: "A named list of grants, which identities have by themselves or by their roles.",
  id: { column: (set) => set.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its ref, `pack.name`." }),
    label: t.exposeString("label", { nullable: true, description: "Its name for people." }),
    description: t.exposeString("description", { nullable: true, description: "What it is for." }),
    grants: t.expose("grants", {
      type: ["JSON"],
      description:
        'What it allows: objects such as `{"resource": "rule", "actions": ["read", "update"], "constraints": {"pack_refs": ["ops"]}}`; `*` is every resource, or every action.',
    }),
    roles: t.stringList({
      description: "The roles that bring it.",
      select: { with: { roles: { columns: { role: true }, orderBy: { role: "asc" } } } },
      resolve: ({ roles }) => roles.map(({ role }) => role),
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was made." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed; give it as `expectedUpdated` to change only what you have read.",
    }),
    pack: t.relation("pack", { nullable: true, description: "The pack whose files it is of; null: people made it." }),
    assignments: t.relatedConnection(
      "assignments",
      assignments.related("Who has it by itself; those who have it by a role are not listed."),
      assignments.connection,
    ),
  }),
});

/** Permission sets, wherever they are listed. */
export const permissionSets = defineList("PermissionSet", "permissionSets", {
  ref: PermissionSet,
  where: {
    id: byId("PermissionSet", "id", "The permission set itself."),
    ref: byText("ref", "Its ref."),
    pack: byText("packRef", "The ref of its pack."),
    label: byText("label", "Its label."),
    description: byText("description", "Its description."),
    created: byTime("created", "When it was made."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", created: "When it was made.", updated: "When it last changed." },
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
