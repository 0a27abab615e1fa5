import { findMask } from "../../execution/secret.ts";
import type { Json } from "../../lib/json.ts";
import type { Mask } from "../../secrecy/mask.ts";
import type { Context } from "./context.ts";

type Input = Readonly<Record<string, unknown>>;

/** Fields that take a secret as it is, and store it as one. */
const taking: Readonly<Record<string, readonly string[]>> = {
  enableWebhook: ["hmac"],
  executeAction: ["parameters"],
  setKey: ["value"],
  setPassword: ["password", "currentPassword"],
};

/**
 * A mutation's input without the secrets that the execution whose token asks was given: what it says is stored, and shown to
 * others. `input` is for the mutation, whose fields that take a secret have theirs; `shown` has none. Whoever asks with no
 * execution's token says what they like.
 */
export async function withoutGivenSecrets(
  operation: string,
  input: Input,
  { engine, session }: Context,
): Promise<{ input: Input; shown: Input }> {
  const mask = session && session.executionId !== null ? await findMask(engine, session) : null;
  if (!mask) return { input, shown: input };
  const shown = Object.fromEntries(Object.entries(input).map(([name, value]) => [name, masked(value, mask)]));
  const kept = (taking[operation] ?? []).filter((name) => name in input).map((name) => [name, input[name]]);
  return { input: { ...shown, ...Object.fromEntries(kept) }, shown };
}

function masked(value: unknown, mask: Mask): unknown {
  if (Array.isArray(value)) return value.map((item) => masked(item, mask));
  if (value === null || value === undefined || value instanceof Date || typeof value === "bigint") return value;
  if (typeof value !== "object") return mask.json(value as Json); // what is left of GraphQL's values
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [mask.text(key), masked(inner, mask)]));
}
