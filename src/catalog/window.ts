import { z } from "zod";
import { jsonObject } from "../schema/fields.ts";
import { componentRef } from "../schema/input.ts";
import { LONGEST_TIMEOUT } from "./retry.ts";

const seconds = z.number().min(0.1).max(LONGEST_TIMEOUT);
const key = z.string().min(1).max(10_000).optional();

/** The kinds of windows. */
export const windowKinds = ["throttle", "debounce", "count", "absence", "once"] as const;
export type WindowKind = (typeof windowKinds)[number];

/** Which events answer a rule's own, so that nothing is absent. Without a trigger, they are events of the rule's trigger. */
const answer = z.strictObject({
  trigger: componentRef.optional(),
  condition: z.enum(["any", "all"]).default("all"),
  conditions: z.array(jsonObject).max(100).default([]),
  key,
});

/** Which matches of a rule start its action, by the times of the events. Times are seconds. */
export const windowDefinition = z
  .strictObject({
    key,
    throttle: z.strictObject({ per: seconds }).optional(),
    debounce: z.strictObject({ quiet: seconds, max: seconds.optional() }).optional(),
    count: z.strictObject({ times: z.int().min(2).max(1000), within: seconds }).optional(),
    absence: z.strictObject({ of: answer, within: seconds }).optional(),
    once: z.strictObject({ per: seconds.optional() }).optional(),
  })
  .refine((given) => windowKinds.filter((kind) => given[kind] !== undefined).length === 1, {
    message: `expected exactly one of ${windowKinds.join(", ")}`,
  })
  .refine(({ debounce }) => debounce?.max === undefined || debounce.max >= debounce.quiet, {
    path: ["debounce", "max"],
    message: "must be at least as long as quiet",
  });
export type WindowDefinition = z.infer<typeof windowDefinition>;

/** How often a rule may start its action. Above that it pauses. Times are seconds. */
export const maxStarts = z.strictObject({
  count: z.int().min(1).max(1_000_000),
  per: seconds,
  pause: seconds.default(300),
});
export type MaxStarts = z.infer<typeof maxStarts>;
