/** Values of a row by column. In a text `{n}` stands for a number of the row's own, `{pack id}` for the id of a pack. */
export type Row = Readonly<Record<string, unknown>>;

/**
 * The rows of a table that its constraints are tried with: what cannot be left out, and everything. References are filled in
 * by whoever inserts, unless they stand here as null.
 */
export interface Sample {
  minimal: Row;
  full: Row;
  /** What must happen before another row can be there. */
  before?: string;
}

export const at = "2026-02-03T04:05:06.789Z";
export const made = { created: "2026-01-02T03:04:05.678Z" };
export const versioned = { ...made, updated: "2026-01-02T03:04:05.679Z" };
export const object = { text: "a", number: 1.5, nothing: null, list: [true, {}], nested: { deep: {} } };
export const sha256 = "0123456789abcdef".repeat(4);
export const pair = (minimal: Row, rest: Row, before?: string): Sample => ({
  minimal,
  full: { ...minimal, ...rest },
  ...(before ? { before } : {}),
});
