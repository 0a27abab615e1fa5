import { sql } from "drizzle-orm";
import { byText } from "./filter.ts";

/** Filters by what people may remember of something: these columns' texts, and lists of texts, together. */
export const byWords = (columns: readonly string[], lists: readonly string[] = []) =>
  byText(
    (table) => {
      const texts = columns.map((name) => sql`${table[name]}`);
      const joined = lists.map((name) => sql`array_to_string(${table[name]}, ' ')`);
      return sql`concat_ws(' ', ${sql.join([...texts, ...joined], sql`, `)})`;
    },
    `Its ${[...columns, ...lists].join(", ")} together: use \`contains\` to search in all of them.`,
  );
