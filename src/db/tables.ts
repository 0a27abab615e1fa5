import { action } from "./tables/action.ts";
import { artifact, artifactVersion } from "./tables/artifact.ts";
import { auditEvent } from "./tables/audit.ts";
import { enforcement } from "./tables/enforcement.ts";
import { packEnvironment } from "./tables/environment.ts";
import { event, pendingEvent, ruleEvaluation } from "./tables/event.ts";
import { execution, executionLog, executionMove, executionSecret, executionTransition } from "./tables/execution.ts";
import { idempotencyKey } from "./tables/idempotency.ts";
import { identity } from "./tables/identity.ts";
import { inquiry } from "./tables/inquiry.ts";
import { key } from "./tables/key.ts";
import { notification, notificationRetention } from "./tables/notification.ts";
import { pack, packRelease } from "./tables/pack.ts";
import { packTestExecution } from "./tables/pack-test.ts";
import { identityRole, permissionAssignment, permissionSet, permissionSetRole } from "./tables/permission.ts";
import { platformAlert, platformEvent } from "./tables/platform.ts";
import { policy, policyGroup, policySlot } from "./tables/policy.ts";
import { presence } from "./tables/presence.ts";
import { rule, ruleChange, ruleRevision, timer } from "./tables/rule.ts";
import { ruleBudget, ruleWindow } from "./tables/rule-window.ts";
import { runtime } from "./tables/runtime.ts";
import { sensor } from "./tables/sensor.ts";
import { sensorEventKey, sensorLog, sensorProcess } from "./tables/sensor-process.ts";
import { token } from "./tables/token.ts";
import { trigger, webhookDelivery } from "./tables/trigger.ts";
import { worker } from "./tables/worker.ts";
import { workflowDefinition } from "./tables/workflow.ts";

/** Every table, by the plural name that relational queries and the API's types use. */
export const tables = {
  packs: pack,
  packReleases: packRelease,
  packEnvironments: packEnvironment,
  packTestExecutions: packTestExecution,
  runtimes: runtime,
  identities: identity,
  identityRoles: identityRole,
  permissionSets: permissionSet,
  permissionAssignments: permissionAssignment,
  permissionSetRoles: permissionSetRole,
  tokens: token,
  auditEvents: auditEvent,
  idempotencyKeys: idempotencyKey,
  keys: key,
  sensors: sensor,
  sensorProcesses: sensorProcess,
  sensorLogs: sensorLog,
  sensorEventKeys: sensorEventKey,
  triggers: trigger,
  webhookDeliveries: webhookDelivery,
  rules: rule,
  ruleRevisions: ruleRevision,
  ruleChanges: ruleChange,
  ruleWindows: ruleWindow,
  ruleBudgets: ruleBudget,
  timers: timer,
  events: event,
  pendingEvents: pendingEvent,
  ruleEvaluations: ruleEvaluation,
  enforcements: enforcement,
  workflowDefinitions: workflowDefinition,
  actions: action,
  executions: execution,
  executionMoves: executionMove,
  executionTransitions: executionTransition,
  executionLogs: executionLog,
  executionSecrets: executionSecret,
  inquiries: inquiry,
  policies: policy,
  policyGroups: policyGroup,
  policySlots: policySlot,
  artifacts: artifact,
  artifactVersions: artifactVersion,
  notifications: notification,
  notificationRetentions: notificationRetention,
  workers: worker,
  presences: presence,
  platformEvents: platformEvent,
  platformAlerts: platformAlert,
};
