import { sql } from "drizzle-orm";
import { byText, type FilterField } from "./filter.ts";

/** Filters by the joined texts of these columns and lists of texts. */
export const byWords = (columns: readonly string[], lists: readonly string[] = []) =>
  byText(
    (table) => {
      const texts = columns.map((name) => sql`${table[name]}`);
      const joined = lists.map((name) => sql`array_to_string(${table[name]}, ' ')`);
      return sql`concat_ws(' ', ${sql.join([...texts, ...joined], sql`, `)})`;
    },
    `Its ${[...columns, ...lists].join(", ")} combined: use \`contains\` to search all of them.`,
  );

/** Filters by the texts of a list column: one of them must pass. */
export const byAnyOf = (column: string, description: string): FilterField => ({
  ...byText(() => sql`of_list.item`, description),
  some: (table, passes) => sql`exists (select from unnest(${table[column]}) of_list(item) where ${passes})`,
});
