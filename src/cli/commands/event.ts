import { mutate } from "../client.ts";
import type { Context } from "../context.ts";
import { define, type Group, groupOf, option } from "../define.ts";
import { UsageFailure } from "../failure.ts";
import { readDocument, readValues, type Schema } from "../input.ts";
import { resourceOf } from "../resources.ts";

/** The payload that a command's values or its file give. */
export async function readPayload(
  context: Context,
  pairs: readonly string[],
  file: string | undefined,
  loadSchema: () => Promise<Schema>,
): Promise<unknown> {
  if (file === undefined) return await readValues(context, pairs, undefined, loadSchema);
  if (pairs.length > 0) throw new UsageFailure("Give either values or a file, not both.");
  return await readDocument(context, file);
}

/** Adds `event emit`. */
export function addEvents(above: Group): void {
  const commands = groupOf(above, "event");
  const resource = resourceOf("event");
  define<{ payload?: string; traceTag?: string }>(commands, {
    name: "emit <trigger> [values...]",
    description: "store an event with a payload, as if its trigger had fired",
    options: [
      option("--payload <file>", "the payload from a file of JSON or YAML; - is standard input"),
      option("--trace-tag <tag>", "the tag by which all that follows from it is found"),
    ],
    examples: ["emit default.hello name=world", "emit default.hello --payload payload.json --trace-tag deploy-17"],
    names: "trigger",
    run: async (context, [trigger = "", ...pairs], { payload: file, traceTag }) => {
      const payload = await readPayload(context, pairs, file, () => schemaOfTrigger(context, trigger));
      const input = { trigger, payload, ...(traceTag === undefined ? {} : { traceTag }) };
      const selection = `event { ${resource.fields} }`;
      const { event } = await mutate<{ event: object }>(context.ask, "createEvent", input, selection);
      await context.printOne(event, resource.columns);
    },
  });
}

async function schemaOfTrigger(context: Context, ref: string): Promise<Schema> {
  const { triggerByRef } = await context.ask<{ triggerByRef: { outSchema: Schema | null } | null }>(
    "query($ref: String!) { triggerByRef(ref: $ref) { outSchema } }",
    { ref },
  );
  return triggerByRef?.outSchema ?? {};
}
