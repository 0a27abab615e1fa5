import { invalid } from "../../errors.ts";
import { nextTicks, scheduleOf } from "../../rule/schedule.ts";
import { builder } from "../kit/builder.ts";
import { Rule } from "./rule.ts";

const most = 100;
/** What a tick costs, and finding the first: up to a millisecond of computing for a rare one, during which the process serves no other request. */
const tickCost = 10;

builder.drizzleObjectFields(Rule, (t) => ({
  nextTicks: t.field({
    type: ["DateTime"],
    description: `The next ticks of its timer; none while it is disabled, and for a trigger that is no timer. Costs ${tickCost}, and ${tickCost} more for each tick of \`first\`.`,
    args: { first: t.arg.int({ defaultValue: 5, required: true, description: `How many, at most ${most}.` }) },
    complexity: ({ first }) => ({ field: tickCost * (1 + Math.max(0, first)), multiplier: 1 }),
    select: { columns: { triggerRef: true, triggerParams: true }, with: { timer: { columns: { nextFireAt: true } } } },
    resolve: ({ triggerRef, triggerParams, timer }, { first }) => {
      if (first < 0 || first > most) throw invalid("first", `must be from 0 to ${most}`);
      const schedule = scheduleOf(triggerRef, triggerParams);
      const next = timer?.nextFireAt?.getTime() ?? null;
      if (schedule === null || next === null || first === 0) return [];
      return [new Date(next), ...nextTicks(schedule, next, first - 1)];
    },
  }),
}));
