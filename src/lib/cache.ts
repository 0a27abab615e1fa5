/** Returns a cache of at most `limit` values by text that drops the least recently used first; `create` runs for a missing value. */
export function createCache<Value>(limit: number): (key: string, create: () => Value) => Value {
  const entries = new Map<string, { value: Value }>();
  return (key, create) => {
    const known = entries.get(key);
    if (known) {
      entries.delete(key);
      entries.set(key, known);
      return known.value;
    }
    const entry = { value: create() };
    entries.set(key, entry);
    if (entries.size > limit) for (const [oldest] of entries.entries().take(1)) entries.delete(oldest);
    return entry.value;
  };
}
