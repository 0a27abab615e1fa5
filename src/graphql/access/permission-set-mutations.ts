import { createPermissionSet, deletePermissionSet, updatePermissionSet } from "../../access/permission.ts";
import { builder } from "../kit/builder.ts";
import { refusable } from "../kit/refusals.ts";
import { PermissionSet } from "./permission-set.ts";

type Fields = PothosSchemaTypes.InputFieldBuilder<typeof builder.$inferSchemaTypes, "InputObject">;

const changeable = (t: Fields) => ({
  label: t.string({ description: "Its name for people." }),
  description: t.string({ description: "What it is for." }),
  grants: t.field({
    type: ["JSON"],
    description:
      'What it allows, at most 200: objects such as `{"resource": "rule", "actions": ["read", "update"], "constraints": {"pack_refs": ["ops"]}}`. You must hold every one yourself.',
  }),
});

const setRef = (t: Fields) => t.string({ required: true, description: "The permission set's ref." });

const CreatePermissionSetInput = builder.inputType("CreatePermissionSetInput", {
  description: "A permission set to make.",
  fields: (t) => ({
    ref: t.string({
      required: true,
      description: "Its ref, `pack.name`; the pack must exist (`default` always does).",
    }),
    ...changeable(t),
    idempotencyKey: t.string({ description: "Makes a repeated request find what the first has made." }),
  }),
});

builder.mutationField("createPermissionSet", (t) =>
  t.withAuth({ may: "permission_set:create" }).drizzleField({
    type: PermissionSet,
    nullable: true,
    description: "Makes a permission set. Nobody grants what they do not hold.",
    args: { input: t.arg({ type: CreatePermissionSetInput, required: true, description: "The permission set." }) },
    errors: refusable("permissionSet", "The new permission set."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await createPermissionSet(ctx.engine, ctx.session, input);
      return await ctx.written.query.permissionSets.findFirst(query({ where: { id } }));
    },
  }),
);

const UpdatePermissionSetInput = builder.inputType("UpdatePermissionSetInput", {
  description:
    "What to change of a permission set; whatever is left out stays, and a null label or description is taken away.",
  fields: (t) => ({
    ref: setRef(t),
    expectedUpdated: t.field({
      type: "DateTime",
      description: "The set's `updated` as you have read it: a conflict when it has changed since.",
    }),
    ...changeable(t),
  }),
});

builder.mutationField("updatePermissionSet", (t) =>
  t.withAuth({ may: "permission_set:update" }).drizzleField({
    type: PermissionSet,
    nullable: true,
    description:
      "Changes a permission set that people made; whoever has it feels it within a second. Nobody grants what they do not hold.",
    args: {
      input: t.arg({
        type: UpdatePermissionSetInput,
        required: true,
        description: "The set and what to change of it.",
      }),
    },
    errors: refusable("permissionSet", "The permission set as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { ref, expectedUpdated = null, ...patch } = input;
      const { id } = await updatePermissionSet(ctx.engine, ctx.session, { ref, expectedUpdated, patch });
      return await ctx.written.query.permissionSets.findFirst(query({ where: { id } }));
    },
  }),
);

const DeletePermissionSetInput = builder.inputType("DeletePermissionSetInput", {
  description: "The permission set to delete.",
  fields: (t) => ({ ref: setRef(t) }),
});

const DeletedPermissionSet = builder.objectRef<{ id: bigint; ref: string }>("DeletedPermissionSet").implement({
  description: "A permission set that is no more.",
  fields: (t) => ({
    id: t.globalID({ description: "The id that it had.", resolve: ({ id }) => ({ id, type: PermissionSet }) }),
    ref: t.exposeString("ref", { description: "The ref that it had." }),
  }),
});

builder.mutationField("deletePermissionSet", (t) =>
  t.withAuth({ may: "permission_set:delete" }).field({
    type: DeletedPermissionSet,
    nullable: true,
    description: "Deletes a permission set that people made, and takes it from whoever has it.",
    args: { input: t.arg({ type: DeletePermissionSetInput, required: true, description: "The permission set." }) },
    errors: refusable("permissionSet", "The permission set that was deleted."),
    resolve: (_root, { input }, ctx) => deletePermissionSet(ctx.engine, ctx.session, { ref: input.ref }),
  }),
);
