/** Values of a row by column. In a text, `{n}` is replaced by a unique number, `{pack id}` by the id of a pack. */
export type Row = Readonly<Record<string, unknown>>;

/**
 * The sample rows of a table for testing its constraints: with required columns only, and with all. The inserting code fills
 * in references, unless they are null here.
 */
export interface Sample {
  minimal: Row;
  full: Row;
  /** A statement to run before a row can be inserted. */
  before?: string;
}

export const at = "2026-02-03T04:05:06.789Z";
export const timestamped = { created: "2026-01-02T03:04:05.678Z" };
export const versioned = { ...timestamped, updated: "2026-01-02T03:04:05.679Z" };
export const object = { text: "a", number: 1.5, nothing: null, list: [true, {}], nested: { deep: {} } };
export const sha256 = "0123456789abcdef".repeat(4);
export const pair = (minimal: Row, rest: Row, before?: string): Sample => ({
  minimal,
  full: { ...minimal, ...rest },
  ...(before ? { before } : {}),
});
