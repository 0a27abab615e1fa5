import {
  createWorkflowDefinition,
  deleteWorkflowDefinition,
  updateWorkflowDefinition,
} from "../../catalog/workflow.ts";
import { addEntityMutations } from "../kit/entity.ts";
import { WorkflowDefinition } from "./workflow.ts";

addEntityMutations({
  kind: "WorkflowDefinition",
  noun: "workflow",
  resource: "workflow_definition",
  table: "workflowDefinitions",
  ref: WorkflowDefinition,
  fields: (t, isNew) => ({
    definition: t.field({
      type: "JSONObject",
      required: isNew,
      description:
        "Its graph: `tasks`, a list with at least one item, each with a unique `name` and an `action`'s ref.",
    }),
    label: t.string({ description: "Its display name; its ref by default." }),
    description: t.string({ description: "What it does." }),
    version: t.string({ description: "Its semantic version; 1.0.0 by default." }),
    paramSchema: t.field({ type: "JSONObject", description: "Its parameters, by name." }),
    outSchema: t.field({ type: "JSONObject", description: "What its result contains, by name." }),
    tags: t.stringList({ description: "Keywords to find it by." }),
  }),
  create: {
    description: "Creates a workflow. You must be allowed to execute each of its actions.",
    verb: createWorkflowDefinition,
  },
  update: {
    description: "Changes a workflow. To change its definition you must be allowed to execute each of its actions.",
    verb: updateWorkflowDefinition,
  },
  delete: {
    description: "Deletes a workflow. An action that runs it stays, without a workflow.",
    verb: deleteWorkflowDefinition,
  },
});
