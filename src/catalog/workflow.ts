import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorize, targetOf } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import { workflowDefinition } from "../db/tables/workflow.ts";
import type { Tx } from "../db/tx.ts";
import { InvalidInputError, type Issue } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { checkInput, componentRef } from "../schema/input.ts";
import { requireSets } from "./action.ts";
import { description, jsonObject, kept, label, parameters, texts } from "./fields.ts";
import { semver } from "./manifest.ts";
import { deleteRow, findPackOf, insertNew, lockByRef, updateRow, type Which } from "./row-kit.ts";

/** What people may say of a workflow; what is left out has its default or, in an update, stays. Null empties what can be empty. */
export interface WorkflowFields {
  label?: string | null;
  description?: string | null;
  version?: string | null;
  definition?: JsonObject | null;
  paramSchema?: JsonObject | null;
  outSchema?: JsonObject | null;
  tags?: string[] | null;
}

const workflowFields = z.object({
  label: kept(label),
  description: description.nullish(),
  version: kept(semver),
  definition: kept(jsonObject),
  paramSchema: parameters.nullish(),
  outSchema: parameters.nullish(),
  tags: kept(texts),
});
const newWorkflow = workflowFields.extend({ ref: componentRef, definition: jsonObject });

/**
 * Makes a workflow in the pack that its ref names. Throws InvalidInputError (tasks without a name or a known action), NotFoundError
 * (pack), ForbiddenError (also for a task whose action the session may not run), ConflictError (the ref is taken).
 */
export async function createWorkflowDefinition(
  tx: Tx,
  session: Session,
  input: WorkflowFields & { ref: string; definition: JsonObject },
): Promise<{ id: bigint }> {
  const { ref, ...fields } = checkInput(newWorkflow, input);
  authorize(session, "workflow_definition", "create", targetOf(ref));
  const pack = await findPackOf(tx, ref);
  await checkDefinition(tx.db, session, fields.definition);
  const values = { ...fields, ref, label: fields.label ?? ref, version: fields.version ?? "1.0.0" };
  return await insertNew(tx, workflowDefinition, { ...values, packId: pack.id, packRef: pack.ref });
}

/** Changes what the patch names. Throws NotFoundError, InvalidInputError, ForbiddenError, ConflictError. */
export async function updateWorkflowDefinition(
  tx: Tx,
  session: Session,
  input: Which & { patch: WorkflowFields },
): Promise<{ id: bigint }> {
  authorize(session, "workflow_definition", "update", targetOf(input.ref));
  const fields = checkInput(workflowFields, input.patch);
  const { id } = await lockByRef(tx, workflowDefinition, input);
  if (fields.definition) await checkDefinition(tx.db, session, fields.definition);
  await updateRow(tx, workflowDefinition, { id, fields });
  return { id };
}

/** Deletes a workflow; an action that named it is left without one. Throws NotFoundError, ForbiddenError. */
export async function deleteWorkflowDefinition(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  authorize(session, "workflow_definition", "delete", targetOf(ref));
  const { id } = await lockByRef(tx, workflowDefinition, { ref });
  await deleteRow(tx, workflowDefinition, id);
  return { id, ref };
}

/** What every task has; what else it may have is checked where workflows are run. */
const definitionShape = z.object({
  tasks: z
    .array(
      z.object({
        name: z
          .string()
          .regex(/^[A-Za-z_][A-Za-z0-9_-]{0,99}$/, "must be letters, digits, _ or -, a letter or _ first, at most 100"),
        action: componentRef,
        permission_set_refs: z.array(componentRef).max(100).optional(),
      }),
    )
    .min(1, "must have at least one task")
    .max(1000),
});

async function checkDefinition(db: Db, session: Session, definition: JsonObject): Promise<void> {
  const { tasks } = checkInput(definitionShape, definition, "definition");
  const refs = [...new Set(tasks.map((task) => task.action))];
  const found = await rows<{ ref: string }>(
    db,
    sql`select ref from attune.action where ref in (select jsonb_array_elements_text(${JSON.stringify(refs)}::text::jsonb))`,
  );
  const known = new Set(found.map(({ ref }) => ref));
  const names = tasks.map(({ name }) => name);
  const issues = tasks.flatMap(({ name, action }, index): Issue[] => [
    ...(names.indexOf(name) < index
      ? [{ path: `definition.tasks.${index}.name`, message: `is the name of task ${names.indexOf(name)} already` }]
      : []),
    ...(known.has(action)
      ? []
      : [
          {
            path: `definition.tasks.${index}.action`,
            message: `there is no action "${action}"${didYouMean(action, [...known])}`,
          },
        ]),
  ]);
  if (issues.length > 0) throw new InvalidInputError(issues);
  for (const ref of refs) authorize(session, "action", "execute", targetOf(ref));
  for (const [index, { permission_set_refs: sets = [] }] of tasks.entries()) {
    await requireSets(db, session, sets, `definition.tasks.${index}.permission_set_refs`);
  }
}
