/** Polls until `read` returns a truthy value, and returns it; throws with the last value after `ms` milliseconds. */
export async function until<T>(read: () => T | Promise<T>, what: string, ms = 30_000): Promise<NonNullable<T>> {
  const deadline = Date.now() + ms;
  for (;;) {
    const started = performance.now();
    const value = await read();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms for ${what}; last: ${JSON.stringify(value)}`);
    // Reading takes at most a third of the time: the awaited work needs the processor too.
    const pause = Math.min(Math.max(10, 2 * (performance.now() - started)), 200);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
