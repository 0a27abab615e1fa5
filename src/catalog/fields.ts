import { z } from "zod";
import type { Json, JsonObject } from "../lib/json.ts";
import { issuesOf } from "../schema/input.ts";
import { type ParameterMap, parameterMap } from "../schema/schema.ts";
import { storableJson } from "../schema/storable.ts";

// What inputs have in common. Where a field of an update is left out, what is stored stays.

/** Text of at most so many characters that PostgreSQL can hold. */
export const text = (most: number) =>
  z
    .string()
    .max(most)
    .refine(
      (value) => value.isWellFormed() && !value.includes("\0"),
      "must not contain the character U+0000 or half of a surrogate pair",
    );

const storable = <T extends z.ZodType>(schema: T) =>
  schema.superRefine((value, context) => {
    const json = value as Json; // each schema below takes JSON only
    for (const { message } of issuesOf(() => storableJson(json, ""))) context.addIssue({ code: "custom", message });
  });

export const label = text(200).min(1);
export const description = text(10_000);
export const texts = z.array(text(200).min(1)).max(100);
export const jsonObject = storable(z.record(z.string(), z.json()));
/** A map of parameters, as it is stored. */
export const parameters = storable(parameterMap).transform((map) => map as unknown as JsonObject); // it came as JSON
/** A stored map of parameters. */
export const parametersOf = (stored: JsonObject) => stored as unknown as ParameterMap; // checked when it was stored

/** A field that cannot be empty: null says no more than leaving it out. */
export const kept = <T extends z.ZodType>(schema: T) => schema.nullish().transform((value) => value ?? undefined);

/** A path below a pack's directory: neither absolute nor out of it. */
export const relativePath = text(500)
  .min(1)
  .refine(
    (path) => !path.startsWith("/") && !path.includes("\\") && !path.split("/").includes(".."),
    "must be a path below the pack's directory",
  );
