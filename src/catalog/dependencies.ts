/** Returns the way from a pack over its dependencies back to it, such as `["a", "b", "a"]`; null: there is none. */
export function findCycle(ref: string, dependenciesOf: ReadonlyMap<string, readonly string[]>): string[] | null {
  const seen = new Set<string>();
  const walk = (at: string, way: readonly string[]): string[] | null => {
    for (const next of dependenciesOf.get(at) ?? []) {
      if (next === ref) return [...way, next];
      if (seen.has(next)) continue;
      seen.add(next);
      const found = walk(next, [...way, next]);
      if (found) return found;
    }
    return null;
  };
  return walk(ref, [ref]);
}
