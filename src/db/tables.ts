import { action } from "./tables/action.ts";
import { enforcement } from "./tables/enforcement.ts";
import { event, ruleEvaluation } from "./tables/event.ts";
import { execution, executionLog, executionMove, executionTransition } from "./tables/execution.ts";
import { identity } from "./tables/identity.ts";
import { key } from "./tables/key.ts";
import { notification, notificationEpoch } from "./tables/notification.ts";
import { pack, packRelease } from "./tables/pack.ts";
import { permissionAssignment, permissionSet } from "./tables/permission.ts";
import { rule, timer } from "./tables/rule.ts";
import { runtime } from "./tables/runtime.ts";
import { token } from "./tables/token.ts";
import { trigger, webhookDelivery } from "./tables/trigger.ts";
import { worker } from "./tables/worker.ts";

/** Every table, under the plural name by which relational queries and the API's types know it. */
export const tables = {
  packs: pack,
  packReleases: packRelease,
  runtimes: runtime,
  identities: identity,
  permissionSets: permissionSet,
  permissionAssignments: permissionAssignment,
  tokens: token,
  keys: key,
  triggers: trigger,
  webhookDeliveries: webhookDelivery,
  rules: rule,
  timers: timer,
  events: event,
  ruleEvaluations: ruleEvaluation,
  enforcements: enforcement,
  actions: action,
  executions: execution,
  executionMoves: executionMove,
  executionTransitions: executionTransition,
  executionLogs: executionLog,
  notifications: notification,
  notificationEpochs: notificationEpoch,
  workers: worker,
};
