import { sql } from "drizzle-orm";
import { anyOf, rows } from "../../db/client.ts";
import { createBatchLoader } from "../kit/batch.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { SlotState } from "../kit/enums.ts";
import { byEnum, byId, byInt, byOwnId, byText, byTime } from "../kit/filter.ts";
import { SlotStateFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

const loadPosition = createBatchLoader<number>();

/** Returns the positions of executions that wait for a slot, from 1, by their ids. */
async function findPositions(executions: readonly bigint[], ctx: Context): Promise<ReadonlyMap<bigint, number>> {
  const found = await rows<{ execution: string; position: string }>(
    ctx.db,
    sql`select s.execution::text, (select count(*) from attune.policy_slot b where b.policy_group = s.policy_group
        and b.state = 'waiting' and (b.priority > s.priority or b.priority = s.priority and b.id <= s.id))::text as position
      from attune.policy_slot s where s.execution = ${anyOf(executions.map(String))} and s.state = 'waiting'`,
  );
  return new Map(found.map(({ execution, position }) => [BigInt(execution), Number(position)]));
}

const PolicySlot = builder.drizzleObject("policySlots", {
  name: "PolicySlot",
  description: "The place of an execution in a group.",
  select: { columns: { id: true } },
  fields: (t) => ({
    state: t.expose("state", { type: SlotState, description: "Whether it has a slot or waits for one." }),
    priority: t.exposeInt("priority", { description: "The execution's priority." }),
    position: t.int({
      nullable: true,
      description: "Its position among those that wait, from 1: by priority, then by arrival. Null unless it waits.",
      select: { columns: { executionId: true, state: true } },
      resolve: async ({ executionId, state }, _args, ctx, info) =>
        state === "waiting" ? ((await loadPosition(executionId, findPositions, ctx, info)) ?? null) : null,
    }),
    created: t.expose("created", { type: "DateTime", description: "When it entered the group." }),
    acquiredAt: t.expose("acquiredAt", {
      type: "DateTime",
      nullable: true,
      description: "When it got the slot; null while it waits.",
    }),
    execution: t.relation("execution", { nullable: true, description: "The execution." }),
    group: t.relation("group", { nullable: true, description: "The group, for those who may read its policy." }),
  }),
});

const slots = defineList("PolicySlot", "policySlots", {
  ref: PolicySlot,
  where: {
    state: byEnum(SlotStateFilter, "state", "Whether it has a slot or waits for one."),
    priority: byInt("priority", "The execution's priority."),
    created: byTime("created", "When it entered the group."),
  },
  order: { id: "The order in which they entered the group." },
  defaultOrder: ["id", "asc"],
});

/** The executions that share the limits of a policy. */
export const PolicyGroup = builder.drizzleNode("policyGroups", {
  name: "PolicyGroup",
  description: "The executions that share the limits of a policy: those with the same values of its parameters.",
  id: { column: (group) => group.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    key: t.exposeString("key", { description: "The values of the policy's parameters, as a JSON list." }),
    active: t.exposeInt("active", { description: "How many executions have a slot." }),
    waiting: t.exposeInt("waiting", { description: "How many executions wait for a slot." }),
    nextAt: t.expose("nextAt", {
      type: "DateTime",
      nullable: true,
      description: "When the policy's rate admits the next one that waits; null where none waits for it.",
    }),
    policy: t.relation("policy", { description: "The policy with its limits." }),
    slots: t.relatedConnection(
      "slots",
      slots.related("Who has a slot and who waits for one, without executions that you may not read."),
      slots.connection,
    ),
  }),
});

/** Lists of groups: filters, orders and connection. */
export const groups = defineList("PolicyGroup", "policyGroups", {
  ref: PolicyGroup,
  where: {
    id: byOwnId("PolicyGroup", "The group itself."),
    policy: byId("Policy", "policyId", "The policy."),
    key: byText("key", "The values of the policy's parameters."),
    active: byInt("active", "How many executions have a slot."),
    waiting: byInt("waiting", "How many executions wait for a slot."),
  },
  order: { id: "The order in which they were first used." },
  defaultOrder: ["id", "desc"],
});

addRootFields({
  table: "policyGroups",
  name: "PolicyGroup",
  one: "concurrencyGroup",
  many: "concurrencyGroups",
  ref: PolicyGroup,
  list: groups,
  hasRef: false,
});
