import { sql } from "drizzle-orm";
import { packOf } from "../../db/schema.ts";
import { builder } from "../kit/builder.ts";
import { ExecutionStatus, LogStream, WaitsFor, WorkerLoss } from "../kit/enums.ts";
import { byBigInt, byEnum, byId, byInt, byText, byTime } from "../kit/filter.ts";
import { ExecutionStatusFilter, LogStreamFilter, WaitsForFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

const ExecutionTransition = builder.drizzleObject("executionTransitions", {
  name: "ExecutionTransition",
  description: "One step of an execution's way from status to status.",
  select: { columns: { id: true } },
  fields: (t) => ({
    fromStatus: t.expose("fromStatus", {
      type: ExecutionStatus,
      nullable: true,
      description: "The status before; null at the beginning.",
    }),
    toStatus: t.expose("toStatus", { type: ExecutionStatus, description: "The status since." }),
    at: t.expose("at", { type: "DateTime", description: "When it happened." }),
    attempt: t.exposeInt("attempt", {
      description: "Which attempt at running it this belongs to; 0 before the first.",
    }),
    reason: t.exposeString("reason", { nullable: true, description: "Why, where there is something to say." }),
    execution: t.relation("execution", { nullable: true, description: "The execution that moved." }),
  }),
});

const ExecutionLog = builder.drizzleObject("executionLogs", {
  name: "ExecutionLog",
  description: "A piece of what an execution wrote.",
  select: { columns: { id: true } },
  fields: (t) => ({
    seq: t.expose("seq", { type: "BigInt", description: "Its number within the execution: from 1, without a gap." }),
    stream: t.expose("stream", { type: LogStream, description: "Where it came from." }),
    at: t.expose("at", { type: "DateTime", description: "When it was written." }),
    text: t.exposeString("text", { description: "The text; it may hold several lines, or part of one." }),
    execution: t.relation("execution", { nullable: true, description: "The execution that wrote it." }),
  }),
});

const transitions = defineList("ExecutionTransition", "executionTransitions", {
  ref: ExecutionTransition,
  where: {
    fromStatus: byEnum(ExecutionStatusFilter, "fromStatus", "The status before."),
    toStatus: byEnum(ExecutionStatusFilter, "toStatus", "The status since."),
    at: byTime("at", "When it happened."),
    attempt: byInt("attempt", "Which attempt it belongs to."),
  },
  order: { id: "The order in which they happened." },
  defaultOrder: ["id", "asc"],
});

const logs = defineList("ExecutionLog", "executionLogs", {
  ref: ExecutionLog,
  where: {
    seq: byBigInt("seq", "Its number within the execution; `gt` polls for what is new."),
    stream: byEnum(LogStreamFilter, "stream", "Where it came from."),
    at: byTime("at", "When it was written."),
    text: byText("text", "What it says."),
  },
  order: { seq: "The order in which it was written." },
  defaultOrder: ["seq", "asc"],
});

/** One run of an action. */
export const Execution = builder.drizzleNode("executions", {
  name: "Execution",
  description: "One run of an action.",
  id: { column: (execution) => execution.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    created: t.expose("created", { type: "DateTime", description: "When it was asked for." }),
    updated: t.expose("updated", { type: "DateTime", description: "When it last changed." }),
    status: t.expose("status", { type: ExecutionStatus, description: "How far it is." }),
    waitsFor: t.expose("waitsFor", { type: WaitsFor, nullable: true, description: "What it waits for, if anything." }),
    reason: t.exposeString("reason", { nullable: true, description: "Why it is in this status." }),
    actionRef: t.exposeString("actionRef", { description: "The action's ref, kept when the action is deleted." }),
    ruleRef: t.exposeString("ruleRef", { nullable: true, description: "The ref of the rule that asked for it." }),
    triggerRef: t.exposeString("triggerRef", { nullable: true, description: "The ref of that rule's trigger." }),
    workerName: t.exposeString("workerName", { nullable: true, description: "The name of the worker that ran it." }),
    traceTag: t.exposeString("traceTag", { description: "Shared by everything that came of one cause." }),
    parameters: t.expose("config", {
      type: "JSONObject",
      nullable: true,
      description: "The action's parameters, defaults filled in, secrets masked.",
    }),
    result: t.expose("result", {
      type: "JSON",
      nullable: true,
      description: "What the action returned, also when it failed.",
    }),
    error: t.expose("error", {
      type: "JSONObject",
      nullable: true,
      description: "Why it did not complete: code, message and detail.",
    }),
    priority: t.exposeInt("priority", { description: "Higher ones are run first." }),
    depth: t.exposeInt("depth", { description: "How many executions it is a part of; 0: of none." }),
    attempt: t.exposeInt("attempt", { description: "How many times a worker has begun to run it." }),
    generation: t.exposeInt("generation", { description: "How many events and executions led here." }),
    timeoutSeconds: t.exposeInt("timeoutSeconds", { nullable: true, description: "How long it may run, in seconds." }),
    onWorkerLoss: t.expose("onWorkerLoss", {
      type: WorkerLoss,
      description: "What becomes of it if its worker is lost.",
    }),
    scheduledAt: t.expose("scheduledAt", {
      type: "DateTime",
      nullable: true,
      description: "Since when a worker may take it.",
    }),
    startedAt: t.expose("startedAt", { type: "DateTime", nullable: true, description: "When a worker began." }),
    finishedAt: t.expose("finishedAt", { type: "DateTime", nullable: true, description: "When it ended." }),
    deadline: t.expose("deadline", { type: "DateTime", nullable: true, description: "When it times out." }),
    cancelRequestedAt: t.expose("cancelRequestedAt", {
      type: "DateTime",
      nullable: true,
      description: "When someone wanted it to end.",
    }),
    action: t.relation("action", { nullable: true, description: "The action; null when it was deleted." }),
    enforcement: t.relation("enforcement", {
      nullable: true,
      description: "The rule's match that asked for it; null when a person or another execution did.",
    }),
    executor: t.relation("executor", { nullable: true, description: "Who asked for it; null when a rule did." }),
    worker: t.relation("worker", { nullable: true, description: "The worker that runs or ran it." }),
    parent: t.relation("parent", { nullable: true, description: "The execution that it is a part of." }),
    root: t.relation("root", { nullable: true, description: "The topmost execution that it is a part of." }),
    children: t.relatedConnection(
      "children",
      executions.related("The executions that are direct parts of it."),
      executions.connection,
    ),
    transitions: t.relatedConnection(
      "transitions",
      transitions.related("Its way from status to status, oldest first."),
      transitions.connection,
    ),
    logs: t.relatedConnection("logs", logs.related("What it wrote, oldest first."), logs.connection),
  }),
});

/** Executions, wherever they are listed. */
export const executions = defineList("Execution", "executions", {
  ref: Execution,
  where: {
    id: byId("Execution", "id", "The execution itself."),
    action: byText("actionRef", "The action's ref."),
    pack: byText(({ actionRef }) => (actionRef ? packOf(actionRef) : sql`null`), "The ref of the action's pack."),
    rule: byText("ruleRef", "The ref of the rule that asked for it."),
    trigger: byText("triggerRef", "The ref of that rule's trigger."),
    parent: byId("Execution", "parentId", "The execution that it is a direct part of."),
    root: byId("Execution", "rootId", "The topmost execution that it is a part of."),
    enforcement: byId("Enforcement", "enforcementId", "The rule's match that asked for it."),
    executor: byId("Identity", "executorId", "Who asked for it."),
    worker: byId("Worker", "workerId", "The worker that runs or ran it."),
    traceTag: byText("traceTag", "Its trace tag."),
    status: byEnum(ExecutionStatusFilter, "status", "How far it is."),
    waitsFor: byEnum(WaitsForFilter, "waitsFor", "What it waits for."),
    priority: byInt("priority", "Its priority."),
    attempt: byInt("attempt", "How many times a worker has begun to run it."),
    created: byTime("created", "When it was asked for."),
    startedAt: byTime("startedAt", "When a worker began."),
    finishedAt: byTime("finishedAt", "When it ended."),
  },
  order: { created: "When it was asked for." },
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
