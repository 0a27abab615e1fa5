import { z } from "zod";
import type { Json } from "../lib/json.ts";

const types = ["string", "integer", "number", "boolean", "array", "object", "any"] as const;
// Each is checked by a linear expression or by code; "regex" is left out because it compiles its input.
const formats = ["date-time", "date", "time", "duration", "uri", "email", "hostname", "ipv4", "ipv6", "uuid"] as const;

const name = z
  .string()
  .regex(
    /^[A-Za-z_][A-Za-z0-9_-]{0,99}$/,
    "must be letters, digits, _ or -, at most 100 of them, and begin with a letter or _",
  );

const length = z.int().min(0);

/** The syntax of one parameter; `parameterMap` checks how its parts fit together. */
const parameter = z.strictObject({
  type: z.enum(types),
  description: z.string().max(10_000).optional(),
  required: z.boolean().optional(),
  default: z.json().optional(),
  enum: z.array(z.json()).min(1).max(1000).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  min_length: length.optional(),
  max_length: length.optional(),
  pattern: z.string().optional(),
  format: z.enum(formats).optional(),
  get items() {
    return parameter.optional();
  },
  get properties() {
    return parameterRecord.optional();
  },
  secret: z.boolean().optional(),
  takes_secrets: z.boolean().optional(),
});

/** The syntax of a flat map of parameters by name. */
export const parameterRecord: z.ZodRecord<typeof name, z.ZodType<Parameter>> = z.record(name, parameter);

export interface Parameter {
  type: (typeof types)[number];
  description?: string | undefined;
  required?: boolean | undefined;
  default?: Json | undefined;
  enum?: Json[] | undefined;
  minimum?: number | undefined;
  maximum?: number | undefined;
  min_length?: number | undefined;
  max_length?: number | undefined;
  pattern?: string | undefined;
  format?: (typeof formats)[number] | undefined;
  items?: Parameter | undefined;
  properties?: ParameterMap | undefined;
  /** A text that is never shown. */
  secret?: boolean | undefined;
  /** Rules may use keys in its texts, which are then hidden like secrets; other values are shown. */
  takes_secrets?: boolean | undefined;
}

/** The parameters of an action, trigger, sensor or payload, by name. */
export type ParameterMap = Record<string, Parameter>;
