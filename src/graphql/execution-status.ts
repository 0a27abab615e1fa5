import type { ExecutionStatus as Status } from "../execution/states.ts";
import type { JsonObject } from "../lang/json.ts";
import type { Change } from "../notifier/page.ts";
import { builder, defaultPageSize } from "./builder.ts";
import { changeFilter } from "./change-filter.ts";
import { ExecutionStatus } from "./enums.ts";
import { Execution } from "./execution.ts";
import { ExecutionStatusFilter, IDFilter, StringFilter } from "./filter-inputs.ts";
import { loadNode } from "./node.ts";
import { checkPage } from "./page.ts";
import { followChanges, replayChanges, unwrap } from "./stream.ts";

/** What the database writes into `content` for each step of an execution (the function `execution_content`). */
interface ExecutionContent {
  actionRef: string;
  fromStatus: Status | null;
  toStatus: Status;
  reason: string | null;
  attempt: number;
}

// The boundary to what the database wrote.
const contentOf = ({ content }: Change) => (content ?? {}) as unknown as ExecutionContent;
const reading = (key: string) => (change: Change) => (change.content as JsonObject | null)?.[key];

const liveFields = {
  id: { read: (change: Change) => String(change.entityId), typename: "Execution" },
  action: { read: reading("actionRef") },
  pack: { read: (change: Change) => change.packRef },
  rule: { read: reading("ruleRef") },
  trigger: { read: reading("triggerRef") },
  parent: { read: reading("parent"), typename: "Execution" },
  root: { read: reading("root"), typename: "Execution" },
  enforcement: { read: reading("enforcement"), typename: "Enforcement" },
  executor: { read: reading("executor"), typename: "Identity" },
  traceTag: { read: reading("traceTag") },
  status: { read: reading("toStatus") },
};

const ExecutionStatusWhere = builder.inputRef<Record<string, unknown>>("ExecutionStatusWhere").implement({
  description:
    "Which executions are followed: all that is given must hold. Each but `status` never changes after creation.",
  fields: (t) => ({
    id: t.field({ type: IDFilter, description: "The execution itself." }),
    action: t.field({ type: StringFilter, description: "The action's ref." }),
    pack: t.field({ type: StringFilter, description: "The ref of the action's pack." }),
    rule: t.field({ type: StringFilter, description: "The ref of the rule that asked for it." }),
    trigger: t.field({ type: StringFilter, description: "The ref of that rule's trigger." }),
    parent: t.field({ type: IDFilter, description: "The execution that it is a direct part of." }),
    root: t.field({ type: IDFilter, description: "The topmost execution that it is a part of." }),
    enforcement: t.field({ type: IDFilter, description: "The rule's match that asked for it." }),
    executor: t.field({ type: IDFilter, description: "Who asked for it." }),
    traceTag: t.field({ type: StringFilter, description: "Its trace tag." }),
    status: t.field({ type: ExecutionStatusFilter, description: "The status that it moved to." }),
  }),
});

const ExecutionStatusChange = builder.objectRef<Change>("ExecutionStatusChange").implement({
  description: "An execution moved from one status to another.",
  fields: (t) => ({
    cursor: t.expose("cursor", {
      type: "Cursor",
      description: "Give it as `after` to go on right behind this change.",
    }),
    occurredAt: t.expose("at", { type: "DateTime", description: "When it happened." }),
    executionId: t.globalID({
      description: "The execution's id.",
      resolve: ({ entityId }) => ({ type: Execution, id: entityId }),
    }),
    actionRef: t.string({ description: "The action's ref.", resolve: (change) => contentOf(change).actionRef }),
    fromStatus: t.field({
      type: ExecutionStatus,
      nullable: true,
      description: "The status before; null at the beginning.",
      resolve: (change) => contentOf(change).fromStatus,
    }),
    toStatus: t.field({
      type: ExecutionStatus,
      description: "The status since.",
      resolve: (change) => contentOf(change).toStatus,
    }),
    reason: t.string({
      nullable: true,
      description: "Why, where there is something to say.",
      resolve: (change) => contentOf(change).reason,
    }),
    attempt: t.int({ description: "Which attempt at running it.", resolve: (change) => contentOf(change).attempt }),
    execution: t.field({
      type: Execution,
      nullable: true,
      description:
        "The execution as it is now. In a subscription this costs one SQL statement per message and subscriber; the other fields cost none.",
      resolve: async (change, _args, ctx, info) => {
        const node = await loadNode({ typename: "Execution", number: change.entityId }, ctx, info);
        return node as typeof Execution.$inferType | null; // of the type that was asked for
      },
    }),
  }),
});

const whereArg = { type: ExecutionStatusWhere, description: "Which executions; all when left out." } as const;

builder.subscriptionField("executionStatus", (t) =>
  t.field({
    type: ExecutionStatusChange,
    nullable: true,
    description:
      "Every step of executions from status to status, each exactly once and each execution's in order. `executionStatusChanges` polls the same.",
    args: {
      where: t.arg(whereArg),
      after: t.arg({
        type: "Cursor",
        description:
          "Begin right behind this cursor, with what is stored, then live; left out: begin with what comes next.",
      }),
    },
    subscribe: (_root, { where, after }, ctx) =>
      followChanges(ctx, changeFilter("execution", liveFields, where), after),
    resolve: (message) => unwrap(message),
  }),
);

builder.queryField("executionStatusChanges", (t) =>
  t.field({
    type: [ExecutionStatusChange],
    nullable: true,
    description: "What the subscription `executionStatus` would send after a cursor: the same changes, by polling.",
    args: {
      where: t.arg(whereArg),
      after: t.arg({
        type: "Cursor",
        description: "Begin right behind this cursor; left out: with the oldest change kept.",
      }),
      first: t.arg.int({ description: "How many at most: 50 unless said otherwise, at most 100." }),
    },
    complexity: ({ first }) => ({ field: 1, multiplier: Math.max(1, first ?? defaultPageSize) }),
    resolve: (_root, { where, after, first }, ctx) => {
      checkPage({ first }, []);
      return replayChanges(ctx, changeFilter("execution", liveFields, where), after, first ?? defaultPageSize);
    },
  }),
);
