import type { Session } from "../../access/session.ts";
import type { Services } from "../../db/services.ts";
import { findMask } from "../../execution/secret.ts";
import type { Json } from "../../lib/json.ts";
import type { Mask } from "../../secrecy/mask.ts";

type Input = Readonly<Record<string, unknown>>;

/**
 * Returns a mutation's input without the secrets of the calling execution, since others can read what it stores. `input` is for
 * the mutation and keeps secrets in `secretFields`; `shown` contains none. The input of callers without an execution's token is
 * returned unchanged.
 */
export async function withoutGivenSecrets(
  services: Services,
  session: Session,
  { input, secretFields }: { input: Input; secretFields: readonly string[] },
): Promise<{ input: Input; shown: Input }> {
  const mask = session.executionId === null ? null : await findMask(services, session);
  if (!mask) return { input, shown: input };
  const shown = Object.fromEntries(Object.entries(input).map(([name, value]) => [name, masked(value, mask)]));
  const kept = secretFields.filter((name) => name in input).map((name) => [name, input[name]]);
  return { input: { ...shown, ...Object.fromEntries(kept) }, shown };
}

function masked(value: unknown, mask: Mask): unknown {
  if (Array.isArray(value)) return value.map((item) => masked(item, mask));
  if (value === null || value === undefined || value instanceof Date || typeof value === "bigint") return value;
  if (typeof value !== "object") return mask.json(value as Json); // all other values of GraphQL are JSON
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [mask.text(key), masked(inner, mask)]));
}
