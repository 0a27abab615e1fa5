import { builder } from "./builder.ts";
import { maxCount } from "./totals.ts";

const CountPrecision = builder.enumType("CountPrecision", {
  description: "The precision of a count.",
  values: {
    EXACT: { description: "The count is exact." },
    AT_LEAST: { description: "There are more: counting stopped at the limit." },
  },
});

/** The total of a list; its value is the number of counted rows. */
export const Count = builder.objectRef<number>("Count").implement({
  description: `The number of objects. Counting stops at ${maxCount}, so that the cost of a total does not grow with the history.`,
  fields: (t) => ({
    count: t.int({
      description: `The number of objects, at most ${maxCount}; \`precision\` shows whether it is exact.`,
      complexity: 0, // the total itself costs 1
      resolve: (counted) => Math.min(counted, maxCount),
    }),
    precision: t.field({
      type: CountPrecision,
      description: `EXACT up to ${maxCount}; AT_LEAST above.`,
      complexity: 0,
      resolve: (counted) => (counted > maxCount ? "AT_LEAST" : "EXACT"),
    }),
  }),
});
