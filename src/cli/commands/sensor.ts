import type { Context } from "../context.ts";
import { define, type Group, groupOf, option } from "../define.ts";
import { type Piece, pieceFields, printLog, printPiece } from "../ended.ts";
import { Failure } from "../failure.ts";

/** Adds `sensor logs`. */
export function addSensors(above: Group): void {
  define<{ follow?: boolean }>(groupOf(above, "sensor"), {
    name: "logs <ref>",
    description: "print what a sensor has written, and what was done to it",
    options: [option("--follow", "go on until Ctrl-C")],
    examples: ["logs default.probe"],
    names: "sensor",
    run: async (context, [ref = ""], { follow }) => {
      const id = await idOf(context, ref);
      const after = await printLog(context, id, "sensorLog");
      if (!follow) return after === null ? context.note(`${ref} has written nothing.`) : undefined;
      const document = `subscription($id: ID!, $after: Cursor) { sensorLog(id: $id, after: $after) { ${pieceFields} } }`;
      for await (const piece of context.follow<Piece>({ document, variables: { id }, after })) {
        await printPiece(context, piece);
      }
    },
  });
}

async function idOf(context: Context, ref: string): Promise<string> {
  const { sensorByRef: sensor } = await context.ask<{ sensorByRef: { id: string } | null }>(
    "query($ref: String!) { sensorByRef(ref: $ref) { id } }",
    { ref },
  );
  if (!sensor) throw new Failure(`There is no sensor "${ref}", or you may not read it.`, { code: "NOT_FOUND" });
  return sensor.id;
}
