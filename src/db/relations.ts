import { defineRelations } from "drizzle-orm";
import { tables } from "./tables.ts";

/** How rows reach one another: both directions of every foreign key that the API shows. */
export const relations = defineRelations(tables, (r) => ({
  packs: {
    activeRelease: r.one.packReleases({ from: r.packs.activeReleaseId, to: r.packReleases.id }),
    releases: r.many.packReleases({ from: r.packs.id, to: r.packReleases.packId }),
    actions: r.many.actions(),
    triggers: r.many.triggers(),
    rules: r.many.rules(),
    runtimes: r.many.runtimes(),
    permissionSets: r.many.permissionSets(),
  },
  packReleases: { pack: r.one.packs({ from: r.packReleases.packId, to: r.packs.id }) },
  runtimes: {
    pack: r.one.packs({ from: r.runtimes.packId, to: r.packs.id }),
    actions: r.many.actions(),
    workers: r.many.workers(),
  },
  permissionSets: { pack: r.one.packs({ from: r.permissionSets.packId, to: r.packs.id }) },
  tokens: { identity: r.one.identities({ from: r.tokens.identityId, to: r.identities.id }) },
  triggers: {
    pack: r.one.packs({ from: r.triggers.packId, to: r.packs.id }),
    rules: r.many.rules(),
    events: r.many.events(),
    deliveries: r.many.webhookDeliveries(),
  },
  webhookDeliveries: { trigger: r.one.triggers({ from: r.webhookDeliveries.triggerId, to: r.triggers.id }) },
  actions: {
    pack: r.one.packs({ from: r.actions.packId, to: r.packs.id }),
    runtime: r.one.runtimes({ from: r.actions.runtimeId, to: r.runtimes.id }),
    rules: r.many.rules(),
    executions: r.many.executions(),
  },
  rules: {
    pack: r.one.packs({ from: r.rules.packId, to: r.packs.id }),
    trigger: r.one.triggers({ from: r.rules.triggerId, to: r.triggers.id }),
    action: r.one.actions({ from: r.rules.actionId, to: r.actions.id }),
    owner: r.one.identities({ from: r.rules.ownerId, to: r.identities.id }),
    timer: r.one.timers({ from: r.rules.id, to: r.timers.ruleId }),
    enforcements: r.many.enforcements(),
    evaluations: r.many.ruleEvaluations(),
  },
  timers: { rule: r.one.rules({ from: r.timers.ruleId, to: r.rules.id }) },
  events: {
    trigger: r.one.triggers({ from: r.events.triggerId, to: r.triggers.id }),
    rule: r.one.rules({ from: r.events.ruleId, to: r.rules.id }),
    cause: r.one.executions({ from: r.events.causeExecutionId, to: r.executions.id }),
    evaluations: r.many.ruleEvaluations(),
    enforcements: r.many.enforcements(),
  },
  ruleEvaluations: {
    event: r.one.events({ from: r.ruleEvaluations.eventId, to: r.events.id }),
    rule: r.one.rules({ from: r.ruleEvaluations.ruleId, to: r.rules.id }),
  },
  enforcements: {
    rule: r.one.rules({ from: r.enforcements.ruleId, to: r.rules.id }),
    event: r.one.events({ from: r.enforcements.eventId, to: r.events.id }),
    executions: r.many.executions(),
  },
  executions: {
    action: r.one.actions({ from: r.executions.actionId, to: r.actions.id }),
    parent: r.one.executions({ from: r.executions.parentId, to: r.executions.id, alias: "parent" }),
    children: r.many.executions({ from: r.executions.id, to: r.executions.parentId, alias: "children" }),
    root: r.one.executions({ from: r.executions.rootId, to: r.executions.id, alias: "root" }),
    enforcement: r.one.enforcements({ from: r.executions.enforcementId, to: r.enforcements.id }),
    executor: r.one.identities({ from: r.executions.executorId, to: r.identities.id }),
    worker: r.one.workers({ from: r.executions.workerId, to: r.workers.id }),
    transitions: r.many.executionTransitions(),
    logs: r.many.executionLogs(),
    effects: r.many.events({ from: r.executions.id, to: r.events.causeExecutionId }),
  },
  executionTransitions: {
    execution: r.one.executions({ from: r.executionTransitions.executionId, to: r.executions.id }),
  },
  executionLogs: { execution: r.one.executions({ from: r.executionLogs.executionId, to: r.executions.id }) },
  workers: {
    runtime: r.one.runtimes({ from: r.workers.runtimeId, to: r.runtimes.id }),
    executions: r.many.executions(),
  },
}));
