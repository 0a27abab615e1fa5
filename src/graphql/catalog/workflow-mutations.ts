import {
  createWorkflowDefinition,
  deleteWorkflowDefinition,
  updateWorkflowDefinition,
} from "../../catalog/workflow.ts";
import { builder } from "../kit/builder.ts";
import { addDeletion, addRowMutation, expectedUpdated, type Fields, idempotencyKey } from "../kit/mutation-field.ts";
import { WorkflowDefinition } from "./workflow.ts";

const changeable = (t: Fields) => ({
  label: t.string({ description: "Its name for people; its ref unless said otherwise." }),
  description: t.string({ description: "What it does; null empties it." }),
  version: t.string({ description: "Its semantic version; 1.0.0 unless said otherwise." }),
  paramSchema: t.field({ type: "JSONObject", description: "Its parameters, by name; null empties it." }),
  outSchema: t.field({ type: "JSONObject", description: "What its result holds, by name; null empties it." }),
  tags: t.stringList({ description: "Words to find it by." }),
});
const definitionHelp =
  "Its graph: `tasks`, a list that is not empty, each with a `name` of its own and an `action`'s ref.";

const CreateWorkflowDefinitionInput = builder.inputType("CreateWorkflowDefinitionInput", {
  description: "A workflow to make.",
  fields: (t) => ({
    ref: t.string({
      required: true,
      description: "Its ref, `pack.name`; the pack must exist (`default` always does).",
    }),
    definition: t.field({ type: "JSONObject", required: true, description: definitionHelp }),
    ...changeable(t),
    idempotencyKey: idempotencyKey(t),
  }),
});

const UpdateWorkflowDefinitionInput = builder.inputType("UpdateWorkflowDefinitionInput", {
  description: "What to change of a workflow; whatever is left out stays.",
  fields: (t) => ({
    ref: t.string({ required: true, description: "The workflow's ref." }),
    expectedUpdated: expectedUpdated(t),
    definition: t.field({ type: "JSONObject", description: definitionHelp }),
    ...changeable(t),
  }),
});

const about = { table: "workflowDefinitions", ref: WorkflowDefinition } as const;

addRowMutation({
  ...about,
  name: "createWorkflowDefinition",
  may: "workflow_definition:create",
  description: "Makes a workflow. Whoever makes it must be able to run each of its actions.",
  input: CreateWorkflowDefinitionInput,
  about: "The workflow.",
  payload: ["workflowDefinition", "The new workflow."],
  run: (ctx, input) => createWorkflowDefinition(ctx.engine, ctx.session, input),
});

addRowMutation({
  ...about,
  name: "updateWorkflowDefinition",
  may: "workflow_definition:update",
  description: "Changes a workflow. Whoever changes its definition must be able to run each of its actions.",
  input: UpdateWorkflowDefinitionInput,
  about: "The workflow and what to change of it.",
  payload: ["workflowDefinition", "The workflow as it is now."],
  run: (ctx, { ref, expectedUpdated: expected, ...patch }) =>
    updateWorkflowDefinition(ctx.engine, ctx.session, { ref, expectedUpdated: expected ?? null, patch }),
});

addDeletion(
  {
    kind: "WorkflowDefinition",
    noun: "workflow",
    may: "workflow_definition:delete",
    description: "Deletes a workflow. An action that stood for it stays, without one.",
  },
  (ctx, input) => deleteWorkflowDefinition(ctx.engine, ctx.session, input),
);
