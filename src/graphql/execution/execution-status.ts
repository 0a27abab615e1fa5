import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { ExecutionStatus } from "../kit/enums.ts";
import { ExecutionStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { Execution } from "./execution.ts";

const { id, text, time, choice } = liveFields<"execution">();

/** What subscriptions can filter executions by: none of it changes after creation. */
export const fixedFields = {
  id: id("Execution", "The execution itself.", (change) => change.entityId),
  action: text("The action's ref.", ({ content }) => content.actionRef),
  pack: text("The ref of the action's pack.", (change) => change.packRef),
  rule: text("The ref of the rule that started it.", ({ content }) => content.ruleRef),
  trigger: text("The ref of that rule's trigger.", ({ content }) => content.triggerRef),
  parent: id("Execution", "The execution that it is a direct part of.", ({ content }) => content.parent),
  root: id("Execution", "The topmost execution that it is a part of.", ({ content }) => content.root),
  enforcement: id("Enforcement", "The rule's match that started it.", ({ content }) => content.enforcement),
  executor: id("Identity", "The identity that started it.", ({ content }) => content.executor),
  traceTag: text("Its trace tag.", ({ content }) => content.traceTag),
  created: time("When it was requested.", ({ content }) => content.createdAt),
} as const;

/** A step of an execution, as scalars and the object. */
export const ExecutionStep = builder.interfaceRef<Change<"execution">>("ExecutionStep").implement({
  description: "An execution moved from one status to another.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    executionId: t.globalID({
      description: "The execution's id.",
      resolve: ({ entityId }) => ({ type: Execution, id: entityId }),
    }),
    actionRef: t.string({ description: "The action's ref.", resolve: ({ content }) => content.actionRef }),
    ruleRef: t.string({
      nullable: true,
      description: "The ref of the rule that started it.",
      resolve: ({ content }) => content.ruleRef,
    }),
    triggerRef: t.string({
      nullable: true,
      description: "The ref of that rule's trigger.",
      resolve: ({ content }) => content.triggerRef,
    }),
    traceTag: t.string({ description: "Its trace tag.", resolve: ({ content }) => content.traceTag }),
    fromStatus: t.field({
      type: ExecutionStatus,
      nullable: true,
      description: "The status before; null at the beginning.",
      resolve: ({ content }) => content.fromStatus,
    }),
    toStatus: t.field({
      type: ExecutionStatus,
      description: "The status since.",
      resolve: ({ content }) => content.toStatus,
    }),
    reason: t.string({
      nullable: true,
      description: "Why it moved, where a reason is known.",
      resolve: ({ content }) => content.reason,
    }),
    attempt: t.int({ description: "Which attempt at running it.", resolve: ({ content }) => content.attempt }),
    execution: t.field({
      type: Execution,
      nullable: true,
      description: describeLoaded("The execution as it is now."),
      resolve: loadEntity<typeof Execution.$inferType>("Execution"),
    }),
  }),
});

const ExecutionStatusMessage = builder.objectRef<Change<"execution">>("ExecutionStatusMessage").implement({
  description: "An execution moved from one status to another.",
  interfaces: [LiveMessage, ExecutionStep],
});

addLive({
  subscription: "executionStatus",
  type: ExecutionStatusMessage,
  where: defineLiveWhere(
    "ExecutionStatusWhere",
    "Which executions are followed: all that is given must hold. Each but `status` never changes after creation.",
    {
      channel: "execution",
      fields: {
        ...fixedFields,
        status: choice(ExecutionStatusFilter, "The status that it moved to.", ({ content }) => content.toStatus),
      },
    },
  ),
  which: "Which executions",
  description: "Every step of executions from status to status, each exactly once and each execution's in order.",
});
