import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { PolicyGroup } from "./policy-group.ts";

builder.drizzleObjectFields(Execution, (t) => ({
  slot: t.relation("slot", {
    nullable: true,
    description: "Its place in the group of the policy that applies to it; null without one.",
  }),
  blockedBy: t.field({
    type: PolicyGroup,
    nullable: true,
    description: "The group for whose limits it waits, with those that run in it; null unless it waits for a slot.",
    select: (_args, _ctx, nested) => ({
      columns: { waitsFor: true },
      with: { slot: { with: { group: nested() } } },
    }),
    resolve: ({ waitsFor, slot }) => (waitsFor === "slot" ? (slot?.group ?? null) : null),
  }),
}));
