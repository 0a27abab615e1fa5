import { z } from "zod";
import { InvalidInputError, type Issue } from "../errors.ts";
import { explain, faultsOf } from "../lib/wording.ts";

/** `pack.name`, lower case, exactly one dot: actions, triggers, rules. */
export const componentRef = z
  .string()
  .max(200)
  .regex(
    /^[a-z][a-z0-9_-]+\.[a-z0-9][a-z0-9_-]*$/,
    'must be a ref such as "my_pack.my_name": lower case, exactly one dot',
  );

/** Returns the parsed value. Throws InvalidInputError with every fault, each at its path below `path`. */
export function checkInput<T>(schema: z.ZodType<T>, value: unknown, path = ""): T {
  const parsed = schema.safeParse(value, { error: explain });
  if (parsed.success) return parsed.data;
  throw new InvalidInputError(
    faultsOf(parsed.error).map(({ path: inside, message }) => ({
      path: [path, ...inside.map(String)].filter((part) => part !== "").join("."),
      message,
    })),
  );
}

/** Returns the issues of the InvalidInputError that a check throws, or none, so that those of several checks can be joined. */
export function issuesOf(check: () => unknown): Issue[] {
  try {
    check();
    return [];
  } catch (error) {
    if (error instanceof InvalidInputError) return error.issues;
    throw error;
  }
}
