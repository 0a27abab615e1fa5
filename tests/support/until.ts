/** Polls until `read` answers something true, and returns that; fails with the last answer after `ms` milliseconds. */
export async function until<T>(read: () => T | Promise<T>, what: string, ms = 10_000): Promise<NonNullable<T>> {
  const deadline = Date.now() + ms;
  for (;;) {
    const asked = performance.now();
    const value = await read();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms for ${what}; last: ${JSON.stringify(value)}`);
    // Asking takes a third of the time at most: what is waited for needs the processor too.
    const pause = Math.min(Math.max(10, 2 * (performance.now() - asked)), 200);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
