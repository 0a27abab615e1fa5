import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorize, mayKnow, targetOf } from "../access/grants.ts";
import { requireHeldSets } from "../access/permission.ts";
import { deleteRow, findPackForNew, insertRow, lockRow, updateRow, type Which } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { InvalidInputError, type Issue } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { checkNew, checkPatch, description, jsonObject, label, parameters, texts } from "../schema/fields.ts";
import { checkInput, componentRef } from "../schema/input.ts";
import { semver } from "./manifest.ts";

/** The fields of a workflow that users set. A missing field has its default or, in an update, is unchanged. */
export interface WorkflowFields {
  label?: string | null;
  description?: string | null;
  version?: string | null;
  definition?: JsonObject | null;
  paramSchema?: JsonObject | null;
  outSchema?: JsonObject | null;
  tags?: string[] | null;
}

const workflowFields = z
  .object({
    label,
    description: description.nullable(),
    version: semver,
    definition: jsonObject,
    paramSchema: parameters.nullable(),
    outSchema: parameters.nullable(),
    tags: texts,
  })
  .partial();
const newWorkflow = workflowFields.extend({ ref: componentRef, definition: jsonObject });

/**
 * Creates a workflow in the pack that its ref names. Throws InvalidInputError (tasks without a name or a known action),
 * NotFoundError (pack, permission set), ForbiddenError (also for an action that the session may not execute and a permission set
 * that it does not hold), ConflictError (the ref is taken).
 */
export async function createWorkflowDefinition(
  tx: Tx,
  session: Session,
  input: WorkflowFields & { ref: string; definition: JsonObject },
): Promise<{ id: bigint }> {
  const { ref, ...fields } = checkNew(newWorkflow, input);
  const pack = await findPackForNew(tx, session, { of: "workflow_definition", ref });
  await checkDefinition(tx.db, session, fields.definition);
  const values = { ...fields, ref, label: fields.label ?? ref, version: fields.version ?? "1.0.0" };
  return await insertRow(tx, "workflow_definition", { ...values, packId: pack.id, packRef: pack.ref });
}

/** Changes the fields that the patch names. Throws NotFoundError, InvalidInputError, ForbiddenError, ConflictError. */
export async function updateWorkflowDefinition(
  tx: Tx,
  session: Session,
  input: Which<"workflow_definition"> & { patch: WorkflowFields },
): Promise<{ id: bigint }> {
  const fields = checkPatch(workflowFields, input.patch);
  const { id } = await lockRow(tx, session, { of: "workflow_definition", doing: "update", which: input });
  if (fields.definition) await checkDefinition(tx.db, session, fields.definition);
  await updateRow(tx, "workflow_definition", { id, fields });
  return { id };
}

/** Deletes a workflow; actions that name it keep no workflow. Throws NotFoundError, ForbiddenError. */
export async function deleteWorkflowDefinition(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const { id } = await lockRow(tx, session, { of: "workflow_definition", doing: "delete", which: { ref } });
  await deleteRow(tx, "workflow_definition", id);
  return { id, ref };
}

/** The required parts of a definition. */
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
  const known = new Set(
    found.flatMap(({ ref }) => (mayKnow(session, "action", "execute", targetOf(ref)) ? [ref] : [])),
  );
  const names = tasks.map(({ name }) => name);
  const issues = tasks.flatMap(({ name, action }, index): Issue[] => [
    ...(names.indexOf(name) < index
      ? [{ path: `definition.tasks.${index}.name`, message: `is already the name of task ${names.indexOf(name)}` }]
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
  const sets = new Set(tasks.flatMap(({ permission_set_refs: sets = [] }) => sets));
  await requireHeldSets(db, session, [...sets]);
}
