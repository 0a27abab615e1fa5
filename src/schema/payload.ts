import { invalid } from "../errors.ts";
import type { Json } from "../lib/json.ts";
import { compilePayloadSchema, type ParameterMap } from "./schema.ts";
import { storableJson } from "./storable.ts";

/** Throws InvalidInputError when an event of the trigger cannot have the payload, each issue with its path. */
export function checkPayload(trigger: { ref: string; outSchema: ParameterMap | null }, payload: Json): void {
  storableJson(payload, "payload");
  if (!trigger.outSchema) return;
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) {
    throw invalid("payload", `must be an object for the trigger "${trigger.ref}"`);
  }
  compilePayloadSchema(trigger.outSchema)(payload, "payload");
}
