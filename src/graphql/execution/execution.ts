import { inArray, sql } from "drizzle-orm";
import { packOf } from "../../db/schema.ts";
import { retryable } from "../../execution/states.ts";
import { builder } from "../kit/builder.ts";
import { ExecutionStatus, LogStream, WaitsFor, WorkerLoss } from "../kit/enums.ts";
import { contentOf } from "../kit/event-content.ts";
import { byBigInt, byEnum, byFlag, byId, byInt, byOwnId, byText, byTime } from "../kit/filter.ts";
import { ExecutionStatusFilter, LogStreamFilter, WaitsForFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

const ExecutionTransition = builder.drizzleObject("executionTransitions", {
  name: "ExecutionTransition",
  description: "A status transition of an execution.",
  select: { columns: { id: true } },
  fields: (t) => ({
    fromStatus: t.expose("fromStatus", {
      type: ExecutionStatus,
      nullable: true,
      description: "The previous status; null at creation.",
    }),
    toStatus: t.expose("toStatus", { type: ExecutionStatus, description: "The new status." }),
    at: t.expose("at", { type: "DateTime", description: "When it happened." }),
    attempt: t.exposeInt("attempt", {
      description: "The number of the attempt; 0 before the first.",
    }),
    reason: t.exposeString("reason", { nullable: true, description: "The reason, if known." }),
    execution: t.relation("execution", { nullable: true, description: "The execution." }),
  }),
});

const ExecutionLog = builder.drizzleObject("executionLogs", {
  name: "ExecutionLog",
  description: "A chunk of an execution's output.",
  select: { columns: { id: true } },
  fields: (t) => ({
    seq: t.expose("seq", { type: "BigInt", description: "Its number within the execution, from 1, without gaps." }),
    stream: t.expose("stream", { type: LogStream, description: "The source of the output." }),
    at: t.expose("at", { type: "DateTime", description: "When it was written." }),
    text: t.exposeString("text", { description: "The text; it may contain several lines or part of one." }),
    execution: t.relation("execution", { nullable: true, description: "The execution that wrote it." }),
  }),
});

const transitions = defineList("ExecutionTransition", "executionTransitions", {
  ref: ExecutionTransition,
  where: {
    fromStatus: byEnum(ExecutionStatusFilter, "fromStatus", "The previous status."),
    toStatus: byEnum(ExecutionStatusFilter, "toStatus", "The new status."),
    at: byTime("at", "When it happened."),
    attempt: byInt("attempt", "The number of the attempt."),
  },
  order: { id: "The order in which they happened." },
  defaultOrder: ["id", "asc"],
});

const logs = defineList("ExecutionLog", "executionLogs", {
  ref: ExecutionLog,
  where: {
    seq: byBigInt("seq", "Its number within the execution; use `gt` to poll for new chunks."),
    stream: byEnum(LogStreamFilter, "stream", "The source of the output."),
    at: byTime("at", "When it was written."),
    text: byText("text", "Its content."),
  },
  order: { seq: "The order in which it was written." },
  defaultOrder: ["seq", "asc"],
});

const onlyReaders = "Null if a rule requested it and you may not read the events of the rule's trigger.";

/** One run of an action. */
export const Execution = builder.drizzleNode("executions", {
  name: "Execution",
  description: "One run of an action.",
  id: { column: (execution) => execution.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    created: t.expose("created", { type: "DateTime", description: "When it was requested." }),
    updated: t.expose("updated", { type: "DateTime", description: "When it last changed." }),
    status: t.expose("status", { type: ExecutionStatus, description: "The status." }),
    waitsFor: t.expose("waitsFor", { type: WaitsFor, nullable: true, description: "What it waits for, if anything." }),
    reason: t.exposeString("reason", { nullable: true, description: "The reason for its status." }),
    actionRef: t.exposeString("actionRef", { description: "The action's ref, kept when the action is deleted." }),
    ruleRef: t.exposeString("ruleRef", { nullable: true, description: "The ref of the rule that requested it." }),
    triggerRef: t.exposeString("triggerRef", { nullable: true, description: "The ref of that rule's trigger." }),
    workerName: t.exposeString("workerName", { nullable: true, description: "The name of the worker that ran it." }),
    traceTag: t.exposeString("traceTag", { description: "Shared by all events and executions with the same origin." }),
    parameters: t.field({
      type: "JSONObject",
      nullable: true,
      description: `The action's parameters, with defaults filled in and secrets masked. ${onlyReaders}`,
      select: { columns: { triggerRef: true, config: true } },
      resolve: ({ triggerRef, config }, _args, ctx) => contentOf(ctx, triggerRef, config),
    }),
    result: t.expose("result", {
      type: "JSON",
      nullable: true,
      description: "What the action returned, even if it failed.",
    }),
    error: t.expose("error", {
      type: "JSONObject",
      nullable: true,
      description: "Why it did not complete: code, message and detail.",
    }),
    priority: t.exposeInt("priority", { description: "Executions with a higher priority run first." }),
    depth: t.exposeInt("depth", { description: "The number of its ancestors." }),
    attempt: t.exposeInt("attempt", { description: "The number of times that a worker started it." }),
    generation: t.exposeInt("generation", { description: "The number of events and executions that led to it." }),
    timeoutSeconds: t.exposeInt("timeoutSeconds", { nullable: true, description: "Its timeout, in seconds." }),
    onWorkerLoss: t.expose("onWorkerLoss", {
      type: WorkerLoss,
      description: "What happens to it when its worker is lost.",
    }),
    scheduledAt: t.expose("scheduledAt", {
      type: "DateTime",
      nullable: true,
      description: "The time from which workers may claim it.",
    }),
    startedAt: t.expose("startedAt", { type: "DateTime", nullable: true, description: "When a worker started it." }),
    finishedAt: t.expose("finishedAt", { type: "DateTime", nullable: true, description: "When it ended." }),
    deadline: t.expose("deadline", { type: "DateTime", nullable: true, description: "When it times out." }),
    cancelRequestedAt: t.expose("cancelRequestedAt", {
      type: "DateTime",
      nullable: true,
      description: "When its cancellation was requested.",
    }),
    action: t.relation("action", { nullable: true, description: "The action; null if it was deleted." }),
    enforcement: t.relation("enforcement", {
      nullable: true,
      description: "The enforcement that requested it; null if a user or another execution did.",
    }),
    executor: t.relation("executor", {
      nullable: true,
      description: "The identity that requested it; null if a rule did.",
    }),
    worker: t.relation("worker", { nullable: true, description: "The worker that runs or ran it." }),
    parent: t.relation("parent", { nullable: true, description: "The execution that it is a child of." }),
    root: t.relation("root", { nullable: true, description: "Its topmost ancestor." }),
    children: t.relatedConnection("children", executions.related("Its children."), executions.connection),
    transitions: t.relatedConnection(
      "transitions",
      transitions.related("Its status transitions, oldest first: five for each attempt.", { usually: 5 }),
      transitions.connection,
    ),
    logs: t.relatedConnection("logs", logs.related("Its output, oldest first."), logs.connection),
  }),
});

/** Lists of executions: filters, orders and connection. */
export const executions = defineList("Execution", "executions", {
  ref: Execution,
  where: {
    id: byOwnId("Execution", "The execution itself."),
    action: byText("actionRef", "The action's ref."),
    pack: byText(({ actionRef }) => (actionRef ? packOf(actionRef) : sql`null`), "The ref of the action's pack."),
    rule: byText("ruleRef", "The ref of the rule that requested it."),
    trigger: byText("triggerRef", "The ref of that rule's trigger."),
    parent: byId("Execution", "parentId", "The execution that it is a child of."),
    root: byId("Execution", "rootId", "Its topmost ancestor."),
    enforcement: byId("Enforcement", "enforcementId", "The enforcement that requested it."),
    executor: byId("Identity", "executorId", "The identity that requested it."),
    worker: byId("Worker", "workerId", "The worker that runs or ran it."),
    traceTag: byText("traceTag", "Its trace tag."),
    status: byEnum(ExecutionStatusFilter, "status", "The status."),
    waitsFor: byEnum(WaitsForFilter, "waitsFor", "What it waits for."),
    failedForGood: byFlag(
      ({ status, id }) =>
        status && id
          ? sql`(${inArray(status, [...retryable])} and not exists (select from attune.execution "later"
              where "later".retry_of = ${id}) and not exists (select from attune.execution "later" where "later".rerun_of = ${id}))`
          : sql`null`,
      "Whether it did not complete, and was neither retried nor run again.",
    ),
    priority: byInt("priority", "Its priority."),
    attempt: byInt("attempt", "The number of times that a worker started it."),
    created: byTime("created", "When it was requested."),
    startedAt: byTime("startedAt", "When a worker started it."),
    finishedAt: byTime("finishedAt", "When it ended."),
  },
  order: { created: "When it was requested." },
  defaultOrder: ["created", "desc"],
});

addRootFields({
  table: "executions",
  name: "Execution",
  one: "execution",
  many: "executions",
  ref: Execution,
  list: executions,
  hasRef: false,
});
