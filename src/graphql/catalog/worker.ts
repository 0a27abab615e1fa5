import { sql } from "drizzle-orm";
import { executions } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { WorkerStatus, WorkerType } from "../kit/enums.ts";
import { byEnum, byFlag, byId, byInt, byOwnId, byText, byTime } from "../kit/filter.ts";
import { WorkerStatusFilter, WorkerTypeFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

/** A process that runs executions. */
export const Worker = builder.drizzleNode("workers", {
  name: "Worker",
  description: "A process that takes executions and runs them.",
  id: { column: (worker) => worker.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    name: t.exposeString("name", { description: "Its name; several may have the same." }),
    workerType: t.expose("workerType", { type: WorkerType, description: "Where its actions run." }),
    status: t.expose("status", { type: WorkerStatus, nullable: true, description: "Whether it takes work." }),
    cordoned: t.exposeBoolean("cordoned", { description: "Whether it is cordoned: it takes no new work." }),
    drainsAt: t.expose("drainsAt", {
      type: "DateTime",
      nullable: true,
      description: "When it hands back what it still runs; null unless it is drained.",
    }),
    host: t.exposeString("host", { nullable: true, description: "The machine that it runs on." }),
    port: t.exposeInt("port", { nullable: true, description: "The port that it listens on, if any." }),
    capabilities: t.expose("capabilities", {
      type: "JSONObject",
      nullable: true,
      description:
        "Its runtimes with their versions, its labels, its slots, and those of single runtimes where they are fewer.",
    }),
    lastHeartbeat: t.expose("lastHeartbeat", {
      type: "DateTime",
      nullable: true,
      description: "When it sent its last heartbeat.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When it registered." }),
    updated: t.expose("updated", { type: "DateTime", description: "When it last changed, including heartbeats." }),
    runtime: t.relation("runtime", {
      nullable: true,
      description: "The only runtime that it serves, if it is reserved for one.",
    }),
    executions: t.relatedConnection(
      "executions",
      executions.related("The executions that it runs or ran."),
      executions.connection,
    ),
  }),
});

/** Lists of workers: filters, orders and connection. */
export const workers = defineList("Worker", "workers", {
  ref: Worker,
  where: {
    id: byOwnId("Worker", "The worker itself."),
    name: byText("name", "Its name."),
    host: byText("host", "The machine that it runs on."),
    workerType: byEnum(WorkerTypeFilter, "workerType", "The kind of worker."),
    status: byEnum(WorkerStatusFilter, "status", "Whether it takes work."),
    cordoned: byFlag("cordoned", "Whether it is cordoned: it takes no new work."),
    runtime: byId("Runtime", "runtimeId", "The only runtime that it serves."),
    lastHeartbeat: byTime("lastHeartbeat", "When it sent its last heartbeat."),
    heartbeatAgeSeconds: byInt(
      (worker) => sql`floor(extract(epoch from now() - ${worker["lastHeartbeat"]}))`,
      "The time since its last heartbeat, in whole seconds.",
    ),
    created: byTime("created", "When it registered."),
  },
  order: { name: "Its name.", created: "When it registered." },
  defaultOrder: ["name", "asc"],
});

addRootFields({
  table: "workers",
  name: "Worker",
  one: "worker",
  many: "workers",
  ref: Worker,
  list: workers,
  hasRef: false,
});
