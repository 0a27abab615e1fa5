import {
  addPermissionSetToRole,
  assignPermissionSet,
  assignRole,
  removePermissionSetFromRole,
  unassignPermissionSet,
  unassignRole,
} from "../../access/assignment.ts";
import { builder } from "../kit/builder.ts";
import { addRowMutation, type Fields } from "../kit/mutation.ts";
import { Identity } from "./identity.ts";
import { PermissionSet } from "./permission-set.ts";

const login = (t: Fields) => t.string({ required: true, description: "The identity's login." });
const permissionSet = (t: Fields) => t.string({ required: true, description: "The permission set's ref." });
const role = (t: Fields) => t.string({ required: true, description: "The role: a lower-case name." });

const setInput = (name: string, description: string) =>
  builder.inputType(name, { description, fields: (t) => ({ login: login(t), permissionSet: permissionSet(t) }) });
const roleInput = (name: string, description: string) =>
  builder.inputType(name, { description, fields: (t) => ({ login: login(t), role: role(t) }) });
const roleSetInput = (name: string, description: string) =>
  builder.inputType(name, { description, fields: (t) => ({ role: role(t), permissionSet: permissionSet(t) }) });

const ofIdentity = { table: "identities", ref: Identity, payload: ["identity", "The identity as it is now."] } as const;
const ofSet = {
  table: "permissionSets",
  ref: PermissionSet,
  payload: ["permissionSet", "The permission set as it is now."],
} as const;

addRowMutation({
  ...ofIdentity,
  name: "assignPermissionSet",
  may: "permission_set:assign",
  description:
    "Assigns a permission set to an identity. You need `permission_set:assign` and `identity:update`, and must hold every grant of the set.",
  input: setInput("AssignPermissionSetInput", "The permission set to assign, and the identity that gets it."),
  inputDescription: "The assignment.",
  run: assignPermissionSet,
});

addRowMutation({
  ...ofIdentity,
  name: "unassignPermissionSet",
  may: "permission_set:assign",
  description: "Removes a permission set from an identity. It takes effect within a second.",
  input: setInput("UnassignPermissionSetInput", "The permission set to remove, and the identity that has it."),
  inputDescription: "The assignment to remove.",
  run: unassignPermissionSet,
});

addRowMutation({
  ...ofIdentity,
  name: "assignRole",
  may: "identity:update",
  description:
    "Assigns a role to an identity. You must hold every grant of the role's permission sets, and have the role yourself or `inquiry:respond`: members of a role can respond to its inquiries.",
  input: roleInput("AssignRoleInput", "The role to assign, and the identity that gets it."),
  inputDescription: "The assignment.",
  run: assignRole,
});

addRowMutation({
  ...ofIdentity,
  name: "unassignRole",
  may: "identity:update",
  description: "Removes a role from an identity. It takes effect within a second.",
  input: roleInput("UnassignRoleInput", "The role to remove, and the identity that has it."),
  inputDescription: "The assignment to remove.",
  run: unassignRole,
});

addRowMutation({
  ...ofSet,
  name: "addPermissionSetToRole",
  may: "permission_set:assign",
  description: "Adds a permission set to a role. You must hold every grant of the set.",
  input: roleSetInput("AddPermissionSetToRoleInput", "The permission set to add, and the role that gets it."),
  inputDescription: "The role and the permission set.",
  run: addPermissionSetToRole,
});

addRowMutation({
  ...ofSet,
  name: "removePermissionSetFromRole",
  may: "permission_set:assign",
  description: "Removes a permission set from a role. It takes effect for all its members within a second.",
  input: roleSetInput("RemovePermissionSetFromRoleInput", "The permission set to remove, and the role that has it."),
  inputDescription: "The role and the permission set.",
  run: removePermissionSetFromRole,
});
