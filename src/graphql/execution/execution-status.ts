import type { ExecutionStatus as Status } from "../../execution/states.ts";
import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { ExecutionStatus } from "../kit/enums.ts";
import { DateTimeFilter, ExecutionStatusFilter, IDFilter, StringFilter } from "../kit/filter-inputs.ts";
import {
  addLive,
  atItsPrice,
  defineLiveWhere,
  LiveMessage,
  type LiveWhereField,
  loadEntity,
  telling,
} from "../kit/live.ts";
import { Execution } from "./execution.ts";

/** What the database writes into `content` for each step of an execution (the function `execution_content`). */
interface ExecutionContent {
  actionRef: string;
  ruleRef: string | null;
  triggerRef: string | null;
  traceTag: string;
  fromStatus: Status | null;
  toStatus: Status;
  reason: string | null;
  attempt: number;
}

/** The step of an execution that a change of the channel `execution` tells of. */
export function stepOf({ content }: Change): ExecutionContent {
  return (content ?? {}) as unknown as ExecutionContent; // the boundary to what the database wrote
}

const id = (description: string, read: LiveWhereField["read"], typename: string): LiveWhereField => ({
  type: IDFilter,
  description,
  read,
  typename,
});
const text = (description: string, read: LiveWhereField["read"]): LiveWhereField => ({
  type: StringFilter,
  description,
  read,
});

/** What subscriptions can filter executions by: nothing of it changes after creation. */
export const fixedFields = {
  id: id("The execution itself.", (change) => String(change.entityId), "Execution"),
  action: text("The action's ref.", telling("actionRef")),
  pack: text("The ref of the action's pack.", (change) => change.packRef),
  rule: text("The ref of the rule that asked for it.", telling("ruleRef")),
  trigger: text("The ref of that rule's trigger.", telling("triggerRef")),
  parent: id("The execution that it is a direct part of.", telling("parent"), "Execution"),
  root: id("The topmost execution that it is a part of.", telling("root"), "Execution"),
  enforcement: id("The rule's match that asked for it.", telling("enforcement"), "Enforcement"),
  executor: id("Who asked for it.", telling("executor"), "Identity"),
  traceTag: text("Its trace tag.", telling("traceTag")),
  created: { type: DateTimeFilter, description: "When it was asked for.", read: telling("createdAt") },
} as const satisfies Readonly<Record<string, LiveWhereField>>;

/** A step of an execution, as scalars and the object. */
export const ExecutionStep = builder.interfaceRef<Change>("ExecutionStep").implement({
  description: "An execution moved from one status to another.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    executionId: t.globalID({
      description: "The execution's id.",
      resolve: ({ entityId }) => ({ type: Execution, id: entityId }),
    }),
    actionRef: t.string({ description: "The action's ref.", resolve: (change) => stepOf(change).actionRef }),
    ruleRef: t.string({
      nullable: true,
      description: "The ref of the rule that asked for it.",
      resolve: (change) => stepOf(change).ruleRef,
    }),
    triggerRef: t.string({
      nullable: true,
      description: "The ref of that rule's trigger.",
      resolve: (change) => stepOf(change).triggerRef,
    }),
    traceTag: t.string({ description: "Its trace tag.", resolve: (change) => stepOf(change).traceTag }),
    fromStatus: t.field({
      type: ExecutionStatus,
      nullable: true,
      description: "The status before; null at the beginning.",
      resolve: (change) => stepOf(change).fromStatus,
    }),
    toStatus: t.field({
      type: ExecutionStatus,
      description: "The status since.",
      resolve: (change) => stepOf(change).toStatus,
    }),
    reason: t.string({
      nullable: true,
      description: "Why, where there is something to say.",
      resolve: (change) => stepOf(change).reason,
    }),
    attempt: t.int({ description: "Which attempt at running it.", resolve: (change) => stepOf(change).attempt }),
    execution: t.field({
      type: Execution,
      nullable: true,
      description: atItsPrice("The execution as it is now."),
      resolve: loadEntity<typeof Execution.$inferType>("Execution"),
    }),
  }),
});

const ExecutionStatusChange = builder.objectRef<Change>("ExecutionStatusChange").implement({
  description: "An execution moved from one status to another.",
  interfaces: [LiveMessage, ExecutionStep],
});

addLive({
  subscription: "executionStatus",
  query: "executionStatusChanges",
  type: ExecutionStatusChange,
  where: defineLiveWhere(
    "ExecutionStatusWhere",
    "Which executions are followed: all that is given must hold. Each but `status` never changes after creation.",
    {
      channel: "execution",
      fields: {
        ...fixedFields,
        status: {
          type: ExecutionStatusFilter,
          description: "The status that it moved to.",
          read: telling("toStatus"),
        },
      },
    },
  ),
  which: "Which executions",
  description: "Every step of executions from status to status, each exactly once and each execution's in order.",
});
