import {
  addPermissionSetToRole,
  assignPermissionSet,
  assignRole,
  removePermissionSetFromRole,
  unassignPermissionSet,
  unassignRole,
} from "../../access/assignment.ts";
import { builder } from "../kit/builder.ts";
import { refusable } from "../kit/refusals.ts";
import { Identity } from "./identity.ts";
import { PermissionSet } from "./permission-set.ts";

type Fields = PothosSchemaTypes.InputFieldBuilder<typeof builder.$inferSchemaTypes, "InputObject">;

const parts = {
  login: (t: Fields) => t.string({ required: true, description: "The identity's login." }),
  permissionSet: (t: Fields) => t.string({ required: true, description: "The permission set's ref." }),
  role: (t: Fields) => t.string({ required: true, description: "The role: a lower-case name." }),
};

const setInput = (name: string, description: string) =>
  builder.inputType(name, {
    description,
    fields: (t) => ({ login: parts.login(t), permissionSet: parts.permissionSet(t) }),
  });
const roleInput = (name: string, description: string) =>
  builder.inputType(name, { description, fields: (t) => ({ login: parts.login(t), role: parts.role(t) }) });
const roleSetInput = (name: string, description: string) =>
  builder.inputType(name, {
    description,
    fields: (t) => ({ role: parts.role(t), permissionSet: parts.permissionSet(t) }),
  });

const AssignPermissionSetInput = setInput("AssignPermissionSetInput", "Who is to have which permission set.");
const UnassignPermissionSetInput = setInput("UnassignPermissionSetInput", "From whom to take which permission set.");
const AssignRoleInput = roleInput("AssignRoleInput", "Who is to have which role.");
const UnassignRoleInput = roleInput("UnassignRoleInput", "From whom to take which role.");
const AddPermissionSetToRoleInput = roleSetInput(
  "AddPermissionSetToRoleInput",
  "Which role is to bring which permission set.",
);
const RemovePermissionSetFromRoleInput = roleSetInput(
  "RemovePermissionSetFromRoleInput",
  "Which role is to bring which permission set no more.",
);

const assigning = { may: "permission_set:assign" } as const;

builder.mutationField("assignPermissionSet", (t) =>
  t.withAuth(assigning).drizzleField({
    type: Identity,
    nullable: true,
    description:
      "Gives an identity a permission set. Takes `permission_set:assign` and `identity:update`, and every grant of the set: nobody grants what they do not hold.",
    args: { input: t.arg({ type: AssignPermissionSetInput, required: true, description: "The assignment." }) },
    errors: refusable("identity", "The identity as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await assignPermissionSet(ctx.engine, ctx.session, input);
      return await ctx.written.query.identities.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("unassignPermissionSet", (t) =>
  t.withAuth(assigning).drizzleField({
    type: Identity,
    nullable: true,
    description: "Takes a permission set from an identity, which feels it within a second.",
    args: { input: t.arg({ type: UnassignPermissionSetInput, required: true, description: "The assignment." }) },
    errors: refusable("identity", "The identity as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await unassignPermissionSet(ctx.engine, ctx.session, input);
      return await ctx.written.query.identities.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("assignRole", (t) =>
  t.withAuth({ may: "identity:update" }).drizzleField({
    type: Identity,
    nullable: true,
    description:
      "Gives an identity a role. Takes every grant that the role brings, and the role itself or `inquiry:respond`: whoever has a role answers its inquiries.",
    args: { input: t.arg({ type: AssignRoleInput, required: true, description: "The assignment." }) },
    errors: refusable("identity", "The identity as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await assignRole(ctx.engine, ctx.session, input);
      return await ctx.written.query.identities.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("unassignRole", (t) =>
  t.withAuth({ may: "identity:update" }).drizzleField({
    type: Identity,
    nullable: true,
    description: "Takes a role from an identity, which feels it within a second.",
    args: { input: t.arg({ type: UnassignRoleInput, required: true, description: "The assignment." }) },
    errors: refusable("identity", "The identity as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await unassignRole(ctx.engine, ctx.session, input);
      return await ctx.written.query.identities.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("addPermissionSetToRole", (t) =>
  t.withAuth({ may: "permission_set:assign" }).drizzleField({
    type: PermissionSet,
    nullable: true,
    description:
      "Lets a role bring a permission set. Takes every grant of the set: nobody grants what they do not hold.",
    args: { input: t.arg({ type: AddPermissionSetToRoleInput, required: true, description: "The role and the set." }) },
    errors: refusable("permissionSet", "The permission set as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await addPermissionSetToRole(ctx.engine, ctx.session, input);
      return await ctx.written.query.permissionSets.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("removePermissionSetFromRole", (t) =>
  t.withAuth({ may: "permission_set:assign" }).drizzleField({
    type: PermissionSet,
    nullable: true,
    description: "Lets a role bring a permission set no more; whoever has the role feels it within a second.",
    args: {
      input: t.arg({ type: RemovePermissionSetFromRoleInput, required: true, description: "The role and the set." }),
    },
    errors: refusable("permissionSet", "The permission set as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await removePermissionSetFromRole(ctx.engine, ctx.session, input);
      return await ctx.written.query.permissionSets.findFirst(query({ where: { id } }));
    },
  }),
);
