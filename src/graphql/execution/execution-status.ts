import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { ExecutionStatus } from "../kit/enums.ts";
import { ExecutionStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { mayKnowReference } from "../kit/references.ts";
import { Execution } from "./execution.ts";

const { id, text, time, choice } = liveFields<"execution">();

/** The fields that subscriptions can filter executions by and that never change after creation. */
export const fixedFields = {
  id: id("Execution", "The execution itself.", (change) => change.entityId),
  action: text("The action's ref.", ({ content }) => content.actionRef),
  pack: text("The ref of the action's pack.", (change) => change.packRef),
  rule: text("The ref of the rule that requested it.", ({ content }) => content.ruleRef),
  trigger: text("The ref of that rule's trigger.", ({ content }) => content.triggerRef),
  parent: id("Execution", "The execution that it is a child of.", ({ content }) => content.parent),
  root: id("Execution", "Its topmost ancestor.", ({ content }) => content.root),
  enforcement: id("Enforcement", "The enforcement that requested it.", ({ content }) => content.enforcement),
  executor: id("Identity", "The identity that requested it.", ({ content }) => content.executor),
  traceTag: text("Its trace tag.", ({ content }) => content.traceTag),
  created: time("When it was requested.", ({ content }) => content.createdAt),
} as const;

/** A status transition of an execution: its scalars and the object. */
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
      description: "The ref of the rule that requested it.",
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
      description: "The previous status; null at creation.",
      resolve: ({ content }) => content.fromStatus,
    }),
    toStatus: t.field({
      type: ExecutionStatus,
      description: "The new status.",
      resolve: ({ content }) => content.toStatus,
    }),
    reason: t.string({
      nullable: true,
      description: "The reason, if known.",
      resolve: ({ content }) => content.reason,
    }),
    workerId: t.globalID({
      nullable: true,
      description: "The id of the worker that runs or ran it; null if none did, or you may not read it.",
      resolve: ({ content: { worker } }, _args, { session }) =>
        worker !== null && mayKnowReference(session, "Worker", worker) ? { type: "Worker", id: worker } : null,
    }),
    attempt: t.int({ description: "The number of the attempt.", resolve: ({ content }) => content.attempt }),
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
    "Selects executions: all given conditions must hold. All fields except `status` never change after creation.",
    {
      channel: "execution",
      activities: ["created", "status"],
      fields: {
        ...fixedFields,
        status: choice(ExecutionStatusFilter, "The new status.", ({ content }) => content.toStatus),
      },
    },
  ),
  which: "The executions to follow",
  description: "Every status transition of executions, each exactly once and in order per execution.",
});
