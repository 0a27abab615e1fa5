import { mutate } from "../client.ts";
import type { Context } from "../context.ts";
import { define, type Group, groupOf, option } from "../define.ts";
import type { Schema } from "../input.ts";
import { resourceOf } from "../resources.ts";
import { readPayload } from "./event.ts";

/** Adds `inquiry respond`. */
export function addInquiries(above: Group): void {
  const commands = groupOf(above, "inquiry");
  const resource = resourceOf("inquiry");
  define<{ response?: string }>(commands, {
    name: "respond <id> [values...]",
    description: "respond to an inquiry, with values such as approved=true",
    options: [option("--response <file>", "the response from a file of JSON or YAML; - is standard input")],
    examples: ["respond SW5xdWlyeTox approved=true", "respond SW5xdWlyeTox --response response.json"],
    run: async (context, [id = "", ...pairs], { response: file }) => {
      const response = await readPayload(context, pairs, file, () => schemaOfInquiry(context, id));
      const selection = `inquiry { ${resource.fields} response }`;
      const { inquiry } = await mutate<{ inquiry: object }>(
        context.ask,
        "respondToInquiry",
        { id, response },
        selection,
      );
      await context.printOne(inquiry, resource.columns);
    },
  });
}

async function schemaOfInquiry(context: Context, id: string): Promise<Schema> {
  const { inquiry } = await context.ask<{ inquiry: { responseSchema: Schema | null } | null }>(
    "query($id: ID!) { inquiry(id: $id) { responseSchema } }",
    { id },
  );
  return inquiry?.responseSchema ?? {};
}
