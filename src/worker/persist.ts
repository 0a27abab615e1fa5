import { Refusal } from "../errors.ts";

/** Tries to store something: the database may be away for a moment. */
const maxTries = 6;

/** Stores what a worker has to say, again and again for some six seconds; what is refused stays refused. */
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
