import { builder } from "../kit/builder.ts";
import { PackEnvironmentStatus } from "../kit/enums.ts";
import { byEnum, byId, byText, byTime } from "../kit/filter.ts";
import { PackEnvironmentStatusFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";

const PackEnvironment = builder.drizzleObject("packEnvironments", {
  name: "PackEnvironment",
  description: "The libraries that a pack's files name, installed for one interpreter.",
  select: { columns: { id: true } },
  fields: (t) => ({
    status: t.expose("status", { type: PackEnvironmentStatus, description: "How far it is." }),
    interpreter: t.exposeString("interpreter", { description: "The version of the interpreter that it is for." }),
    manifestChecksum: t.exposeString("manifestChecksum", {
      description: "The SHA-256 of the files that define it: other contents give another environment.",
    }),
    store: t.exposeString("store", {
      description: "The id of the directory that has it: workers that do not share one have environments of their own.",
    }),
    path: t.exposeString("path", { description: "Its directory on the hosts of those workers." }),
    installLog: t.exposeString("installLog", {
      nullable: true,
      description: "The output of its build, as far as it is: the last 128 KiB. Null before the first.",
    }),
    installError: t.exposeString("installError", { nullable: true, description: "Why its build failed." }),
    claimExpiresAt: t.expose("claimExpiresAt", {
      type: "DateTime",
      nullable: true,
      description: "Until when the build belongs to its worker, which renews it; null unless it is being built.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was first needed." }),
    updated: t.expose("updated", { type: "DateTime", description: "When it last changed." }),
    runtime: t.relation("runtime", { nullable: true, description: "The runtime that it is for." }),
    claimedBy: t.relation("claimedBy", { nullable: true, description: "The worker that builds it." }),
  }),
});

/** Lists of environments: filters, orders and connection. */
export const environments = defineList("PackEnvironment", "packEnvironments", {
  ref: PackEnvironment,
  where: {
    status: byEnum(PackEnvironmentStatusFilter, "status", "How far it is."),
    runtime: byId("Runtime", "runtimeId", "The runtime that it is for."),
    store: byText("store", "The directory that has it."),
    created: byTime("created", "When it was first needed."),
  },
  order: { id: "The order in which they were first needed." },
  defaultOrder: ["id", "desc"],
});
