import { styleText } from "node:util";
import { withoutControls } from "./terminal.ts";

/** A column: its head, and where its value is in a row, such as `enforcement.event.id`. */
export type Column = readonly [head: string, path: string];

/** Returns the value at a path of a row; undefined if a part of it is missing. */
export function valueAt(row: unknown, path: string): unknown {
  let value = row;
  for (const part of path.split(".")) value = (value as Record<string, unknown> | null | undefined)?.[part];
  return value;
}

/** Returns a value as the text of a cell, on one line. */
export function cellOf(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return cellOf(value.join(", "));
  if (typeof value !== "string") return withoutControls(JSON.stringify(value));
  // Milliseconds of a time only widen the column.
  const text = /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d+Z$/.test(value) ? `${value.slice(0, 19)}Z` : value;
  return withoutControls(text.replace(/\s*\n\s*/g, " "));
}

const cellsOf = (columns: readonly Column[], row: unknown) => columns.map(([, path]) => cellOf(valueAt(row, path)));

/** Returns the text cut to a width in cells of a terminal. */
function cut(text: string, width: number, widthOf: (text: string) => number): string {
  if (widthOf(text) <= width) return text;
  let kept = "";
  let used = 0;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    used += widthOf(segment);
    if (used > width - 1) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** Prints rows below one another; remembers how wide the columns were, for rows that come later. */
export class Table {
  readonly #columns: readonly Column[];
  /** The width of the terminal; null where lines may be of any length. */
  readonly #width: number | null;
  readonly #widths: number[];
  /** The width of a text in cells. A character of ASCII has one; loading what knows of all others takes longer than most commands. */
  #widthOf = (text: string): number => text.length;

  constructor(columns: readonly Column[], width: number | null) {
    this.#columns = columns;
    this.#width = width;
    this.#widths = columns.map(([head]) => head.length);
  }

  /** Returns the line of heads as wide as these rows need; bold on a terminal. */
  async head(rows: readonly unknown[], isTerminal: boolean): Promise<string> {
    await this.#measure(rows.map((row) => cellsOf(this.#columns, row)));
    const line = this.#line(this.#columns.map(([head]) => head));
    return isTerminal ? `${styleText("bold", line.trimEnd(), { validateStream: false })}\n` : line;
  }

  /** Returns the rows as lines. */
  async body(rows: readonly unknown[]): Promise<string> {
    const cells = rows.map((row) => cellsOf(this.#columns, row));
    await this.#measure(cells);
    return cells.map((row) => this.#line(row)).join("");
  }

  async #measure(rows: string[][]): Promise<void> {
    if (rows.flat().some((cell) => /[^ -~]/.test(cell))) this.#widthOf = (await import("string-width")).default;
    for (const row of rows) {
      for (const [i, cell] of row.entries()) this.#widths[i] = Math.max(this.#widths[i] ?? 0, this.#widthOf(cell));
    }
  }

  #line(cells: string[]): string {
    const last = cells.length - 1;
    const padded = cells.map((cell, i) =>
      i === last ? cell : cell + " ".repeat((this.#widths[i] ?? 0) - this.#widthOf(cell)),
    );
    const line = padded.join("  ").trimEnd();
    return `${this.#width === null ? line : cut(line, this.#width, this.#widthOf)}\n`;
  }
}
