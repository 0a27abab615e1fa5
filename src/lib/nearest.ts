// Allows two edits in five letters, at least one; other guesses would confuse.
function nearest(name: string, known: readonly string[]): string | null {
  const typed = name.slice(0, 100).toLowerCase();
  let best: string | null = null;
  let least = Math.max(1, Math.floor(typed.length * 0.4)) + 1;
  for (const candidate of known) {
    const edits = distance(typed, candidate.toLowerCase());
    if (edits < least) {
      least = edits;
      best = candidate;
    }
  }
  return best;
}

/** Returns `; did you mean "…"?` with the known name most similar to the mistyped one, or "" if none is similar. */
export function didYouMean(name: string, known: readonly string[]): string {
  const guess = nearest(name, known);
  return guess === null ? "" : `; did you mean "${guess}"?`;
}

// The Levenshtein distance, computed one row at a time.
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
