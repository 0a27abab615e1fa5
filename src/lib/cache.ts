/** A cache of at most `limit` values by text, which drops the least recently used first; `make` runs only for a missing value. */
export function createCache<Value>(limit: number): (key: string, make: () => Value) => Value {
  const entries = new Map<string, { value: Value }>();
  return (key, make) => {
    const known = entries.get(key);
    if (known) {
      entries.delete(key);
      entries.set(key, known);
      return known.value;
    }
    const entry = { value: make() };
    entries.set(key, entry);
    if (entries.size > limit) for (const [oldest] of entries.entries().take(1)) entries.delete(oldest);
    return entry.value;
  };
}
