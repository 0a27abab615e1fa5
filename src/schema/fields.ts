import { z } from "zod";
import { InvalidInputError, type Issue } from "../errors.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { checkInput, issuesOf } from "./input.ts";
import { type ParameterMap, parameterMap } from "./schema.ts";
import { storableJson } from "./storable.ts";

// The fields that inputs of entities have in common. Only a field that can be empty is declared nullable.

/** Checks the input that creates an entity and returns it. Null means the same as a missing field. Throws InvalidInputError. */
export function checkNew<T>(fields: z.ZodType<T>, input: object): T {
  return checkInput(
    fields,
    withoutFields(input, (value) => value === null || value === undefined),
  );
}

/**
 * Checks a patch of an entity and returns it: a missing field is unchanged; null empties a nullable field and is refused for any other.
 * Throws InvalidInputError with all faults.
 */
export function checkPatch<T>(fields: z.ZodType<T> & Pick<z.ZodObject, "shape">, patch: object): T {
  const isRefused = (value: unknown, name: string) => {
    const field = fields.shape[name];
    return value === null && field !== undefined && !z.safeParse(field, null).success;
  };
  const rest = withoutFields(patch, (value, name) => value === undefined || isRefused(value, name));
  const refused = Object.entries(patch).flatMap(([path, value]): Issue[] =>
    isRefused(value, path) ? [{ path, message: "must not be null: leave it out to keep what is stored" }] : [],
  );
  if (refused.length === 0) return checkInput(fields, rest);
  throw new InvalidInputError([...refused, ...issuesOf(() => checkInput(fields, rest))]);
}

function withoutFields(input: object, isLeftOut: (value: unknown, name: string) => boolean): object {
  return Object.fromEntries(Object.entries(input).filter(([name, value]) => !isLeftOut(value, name)));
}

/** Text of at most `most` characters that PostgreSQL can store. */
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
export const json = storable(z.json());
export const jsonObject = storable(z.record(z.string(), z.json()));
/** A map of parameters in its stored form. */
export const parameters = storable(parameterMap).transform((map) => map as unknown as JsonObject); // it came as JSON
/** Returns a stored map of parameters with its type. */
export const parametersOf = (stored: JsonObject) => stored as unknown as ParameterMap; // checked when it was stored

/** A path below a pack's directory: neither absolute nor out of it. */
export const relativePath = text(500)
  .min(1)
  .refine(
    (path) => !path.startsWith("/") && !path.includes("\\") && !path.split("/").includes(".."),
    "must be a path below the pack's directory",
  );
