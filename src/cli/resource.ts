import { UsageFailure } from "./failure.ts";
import type { Column } from "./table.ts";

/** A condition of a list that an option sets. */
export interface Filter {
  /** The option as its help shows it, such as `--pack <ref>`. */
  flags: string;
  description: string;
  /** The only values it may have, if they are few. */
  choices?: readonly string[];
  /** The resource whose refs complete it. */
  names?: string;
  /** Returns the condition in the form of the API's `where`. */
  where(value: string): Where;
}

/** Conditions by field. */
export type Where = Record<string, Record<string, unknown>>;

/** What the API has many of: everything that its commands need to know. */
export interface Resource {
  /** The name of its commands. */
  name: string;
  /** One of it and many of it, in sentences. */
  nouns: readonly [one: string, many: string];
  /** The type of its objects in the API. */
  type: string;
  /** The field that lists it. */
  list: string;
  /** The field that finds one by its ref or login, and the name of that argument. */
  byName?: readonly [field: string, argument: string];
  /** What lists select, and the columns of their table. */
  fields: string;
  columns: readonly Column[];
  /** What `show` selects in addition. */
  detail: string;
  filters: readonly Filter[];
  /** The examples of `list` beyond the plain one, and of `show`. */
  examples: { list: readonly string[]; show: string };
  /** The subscription that reports changes, what its messages contain, and the filters that it has too. */
  watch?: {
    subscription: string;
    fields: string;
    columns: readonly Column[];
    filters: readonly string[];
    description: string;
    example: string;
  };
}

type Options = Pick<Filter, "choices" | "names">;

/** A filter by an equal value. */
export const equal = (flags: string, description: string, field: string, options: Options = {}): Filter => ({
  flags,
  description,
  ...options,
  where: (value) => ({ [field]: { eq: value } }),
});

/** A filter by one or several constants, which are written in small letters and separated by commas. */
export const oneOf = (flags: string, description: string, field: string): Filter => ({
  flags,
  description: `${description}; several are separated by commas`,
  where: (value) => ({ [field]: { in: value.split(",").map((one) => one.trim().toUpperCase()) } }),
});

/** A filter by yes or no. */
export const yesNo = (flags: string, description: string, field: string): Filter => ({
  flags,
  description,
  choices: ["yes", "no"],
  where: (value) => ({ [field]: { eq: value === "yes" } }),
});

/** A filter by a part of a text, in capital or small letters. */
export const containing = (flags: string, description: string, field: string): Filter => ({
  flags,
  description,
  where: (value) => ({ [field]: { contains: value } }),
});

/** Filters by the time of creation. */
export const byTime: readonly Filter[] = [
  {
    flags: "--since <time>",
    description: "created at or after this time, or within the last 90s, 15m, 2h, 7d",
    where: (value) => ({ created: { gte: timeOf(value) } }),
  },
  {
    flags: "--until <time>",
    description: "created at or before this time, or at least that long ago",
    where: (value) => ({ created: { lte: timeOf(value) } }),
  },
];

export const byPack = equal("--pack <ref>", "of this pack", "pack", { names: "pack" });

/** Filters that every resource with a ref, a label and a description has. */
export const catalogFilters: readonly Filter[] = [
  byPack,
  containing("--search <text>", "whose ref, label or description contains this", "text"),
];

const unitMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Returns the length of a duration such as `15m` in milliseconds; null if it is none. */
export function durationOf(text: string): number | null {
  const [, count, unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  return count === undefined ? null : Number(count) * (unitMs[unit] ?? 0);
}

/** Returns a time in the API's form. */
function timeOf(text: string): string {
  const ago = durationOf(text);
  const time = ago === null ? new Date(text) : new Date(Date.now() - ago);
  if (Number.isNaN(time.getTime())) {
    throw new UsageFailure(`"${text}" is neither a time such as 2026-01-31T08:00:00Z nor a duration such as 15m.`);
  }
  return time.toISOString();
}
