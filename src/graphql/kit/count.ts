import { builder } from "./builder.ts";
import { maxCount } from "./totals.ts";

const CountPrecision = builder.enumType("CountPrecision", {
  description: "How exact a count is.",
  values: {
    EXACT: { description: "There are exactly so many." },
    AT_LEAST: { description: "There are more: counting stopped." },
  },
});

/** The total of a list, from the number of rows that were counted. */
export const Count = builder.objectRef<number>("Count").implement({
  description: `How many objects there are. Counting stops at ${maxCount}, so that a total costs no more as history grows.`,
  fields: (t) => ({
    count: t.int({
      description: `How many there are, at most ${maxCount}: exactly so many, or at least, as \`precision\` says.`,
      complexity: 0, // the total's own cost is that of counting
      resolve: (counted) => Math.min(counted, maxCount),
    }),
    precision: t.field({
      type: CountPrecision,
      description: `EXACT up to ${maxCount}; AT_LEAST when there are more.`,
      complexity: 0,
      resolve: (counted) => (counted > maxCount ? "AT_LEAST" : "EXACT"),
    }),
  }),
});
