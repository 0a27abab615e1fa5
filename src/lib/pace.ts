/**
 * Returns a function that waits for the next turn: the first `burst` turns after a pause come at once, later ones every `everyMs`
 * milliseconds. So a few turns in a row are immediate, and many are shared by what has gathered meanwhile. This is the generic cell rate
 * algorithm (ITU-T I.371).
 */
export function createPace({ everyMs, burst }: { everyMs: number; burst: number }): () => Promise<void> {
  let due = 0; // when the turns that were given would have come, had none been early
  return async () => {
    const now = performance.now();
    due = Math.max(due, now) + everyMs;
    const early = due - now - burst * everyMs;
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
  };
}
