import { createPermissionSet, deletePermissionSet, updatePermissionSet } from "../../access/permission.ts";
import { addEntityMutations } from "../kit/entity.ts";
import { PermissionSet } from "./permission-set.ts";

addEntityMutations({
  kind: "PermissionSet",
  noun: "permission set",
  resource: "permission_set",
  table: "permissionSets",
  ref: PermissionSet,
  fields: (t) => ({
    label: t.string({ description: "Its display name." }),
    description: t.string({ description: "What it is for." }),
    grants: t.field({
      type: ["JSON"],
      description:
        'What it allows, at most 200: objects such as `{"resource": "rule", "actions": ["read", "update"], "constraints": {"pack_refs": ["ops"]}}`. You must hold each of them yourself.',
    }),
  }),
  create: {
    description: "Creates a permission set. You can grant only what you hold.",
    verb: createPermissionSet,
  },
  update: {
    description:
      "Changes a permission set that was created by hand. It takes effect for all its holders within a second. You can grant only what you hold.",
    verb: updatePermissionSet,
  },
  delete: {
    description: "Deletes a permission set that was created by hand, and removes it from all identities and roles.",
    verb: deletePermissionSet,
  },
});
