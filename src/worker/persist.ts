import { Refusal } from "../errors.ts";

/** The database may be unavailable for a moment. */
const maxTries = 6;

/** Calls `store` and returns its result; retries for about six seconds when it fails. Refusals are thrown at once. */
export async function persist<T>(store: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await store();
    } catch (error) {
      if (tries === maxTries || error instanceof Refusal) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** tries));
    }
  }
}
