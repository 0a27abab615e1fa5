import type { RetryPolicy } from "../../catalog/retry.ts";
import type {
  artifactRetention,
  artifactType,
  auditOutcome,
  enforcementCondition,
  enforcementStatus,
  executionStatus,
  inquiryStatus,
  logStream,
  ownerType,
  packEnvironmentStatus,
  policyMethod,
  runtimeType,
  sensorProcessStatus,
  visibility,
  workerStatus,
  workerType,
} from "../../db/schema.ts";
import type { packTestExecution } from "../../db/tables/pack-test.ts";
import type { policySlot } from "../../db/tables/policy.ts";
import type { WaitsFor as ExecutionWaitsFor } from "../../execution/states.ts";
import type { SuiteProgress } from "../../execution/test-pack.ts";
import { criterionOperators } from "../../lang/operators.ts";
import type { TestStatus as TestOutcome } from "../../pack-test/report.ts";
import type { findingKinds } from "../../rule/lint.ts";
import { builder } from "./builder.ts";

export type Described<Value extends string> = Readonly<Record<Value, string>>;

/** Adds an enum whose values are the stored ones in upper case, so that SQL, TypeScript and the API cannot diverge. */
export function upperCased<const Value extends string>(name: string, description: string, values: Described<Value>) {
  const entries = Object.entries<string>(values).map(
    ([value, meaning]) => [value.toUpperCase(), { value: value as Value, description: meaning }] as const, // a key of `values`
  );
  return builder.enumType(name, { description, values: Object.fromEntries(entries) });
}

type Of<Enum extends { enumValues: readonly string[] }> = Described<Enum["enumValues"][number]>;

export const ExecutionStatus = upperCased("ExecutionStatus", "The status of an execution.", {
  requested: "Requested.",
  scheduling: "Being checked for whether it can start now.",
  scheduled: "Waiting for a worker.",
  running: "Running on a worker, or started and waiting: `waitsFor` shows for what.",
  completed: "Ended successfully. Final.",
  failed: "Ended with an error. Final.",
  canceling: "Cancellation was requested; its worker has not confirmed it yet.",
  cancelled: "Cancelled. Final.",
  timeout: "Ended because it exceeded its timeout. Final.",
  abandoned: "Its worker was lost; the result is unknown. Final.",
} satisfies Of<typeof executionStatus>);

export const WaitsFor = upperCased("WaitsFor", "What an execution waits for, other than a worker.", {
  inquiry: "A response to its inquiry.",
  tasks: "The tasks of its workflow.",
  slot: "A free slot: its action's policy limits concurrent executions.",
  time: "The time for which it was requested.",
  retry: "The delay before its next attempt.",
} satisfies Described<ExecutionWaitsFor>);

export const SlotState = upperCased("SlotState", "The state of an execution's place in a group.", {
  active: "It may run, runs, or is being cancelled.",
  waiting: "It waits for a slot.",
  released: "It has ended and still counts for the rate.",
} satisfies Described<(typeof policySlot.$inferSelect)["state"]>);

export const EnforcementStatus = upperCased("EnforcementStatus", "The status of an enforcement.", {
  created:
    "The rule matched; the execution is not created yet. The executor creates both at once: only rows from elsewhere have it.",
  processed: "An execution was created, or `error` contains the reason why not.",
  disabled: "The rule was disabled in the meantime: no execution was created.",
} satisfies Of<typeof enforcementStatus>);

export const InquiryStatus = upperCased("InquiryStatus", "The status of an inquiry.", {
  pending: "Waiting for a response.",
  responded: "Responded to. Final.",
  timeout: "Timed out; the default response, if any, was stored. Final.",
  cancelled: "Cancelled, or its execution ended. Final.",
} satisfies Of<typeof inquiryStatus>);

export const AuditOutcome = upperCased("AuditOutcome", "The outcome of an audited operation.", {
  success: "The mutation succeeded.",
  failure: "It was refused for another reason, or failed.",
  denied: "It was denied: the caller lacks a grant or a valid credential.",
} satisfies Of<typeof auditOutcome>);

export const RuleCondition = upperCased("RuleCondition", "How a rule's conditions are combined.", {
  any: "At least one condition must hold.",
  all: "All conditions must hold.",
} satisfies Of<typeof enforcementCondition>);

export const RuntimeType = upperCased("RuntimeType", "The kind of entity that runs in a runtime.", {
  action: "Actions.",
  sensor: "Sensors.",
} satisfies Of<typeof runtimeType>);

export const WorkerType = upperCased("WorkerType", "Where a worker's actions run.", {
  local: "On the server's machine.",
  remote: "On another machine.",
  container: "In containers.",
} satisfies Of<typeof workerType>);

export const PackEnvironmentStatus = upperCased("PackEnvironmentStatus", "How far an environment is.", {
  pending: "It is to be built.",
  installing: "A worker builds it.",
  ready: "Actions run in it.",
  failed: "It could not be built; the next execution that needs it tries again, a minute later at the earliest.",
  outdated: "The pack's current files need another one. It is removed an hour after its last use.",
} satisfies Of<typeof packEnvironmentStatus>);

export const TestStatus = upperCased("TestStatus", "How a test of a pack ended.", {
  passed: "It passed.",
  failed: "It failed by what it expects.",
  skipped: "It was skipped.",
  error: "It could not be run to its end.",
} satisfies Described<TestOutcome>);

export const TestProgressStatus = upperCased("TestProgressStatus", "How far tests of a pack are.", {
  running: "They run.",
  passed: "They ended, and enough passed.",
  failed: "They ended, and too many failed or their result could not be read.",
} satisfies Described<SuiteProgress["status"]>);

export const PackTestReason = upperCased("PackTestReason", "Why the tests of a pack were run.", {
  install: "The pack was installed.",
  update: "It was updated.",
  manual: "A user asked for it.",
  validation: "It was checked.",
} satisfies Described<(typeof packTestExecution.$inferSelect)["triggerReason"]>);

export const SensorProcessStatus = upperCased("SensorProcessStatus", "What the process of a sensor does.", {
  starting: "It is being started; its environment may be built first.",
  running: "It runs.",
  stopping: "It was asked to end.",
  waiting:
    "It has ended by itself, or could not be started: `lastError` says why, and `nextStartAt` when it is tried again.",
  stopped: "It is not to run: the sensor is disabled, or no enabled rule uses its triggers.",
} satisfies Of<typeof sensorProcessStatus>);

export const WorkerStatus = upperCased("WorkerStatus", "Whether a worker takes work.", {
  active: "It takes work.",
  inactive: "It has stopped, or was lost.",
  busy: "All its slots are in use.",
  error: "It cannot run executions.",
} satisfies Of<typeof workerStatus>);

export const CollectionChange = upperCased("CollectionChange", "How a change affected a collection.", {
  entered: "The object was not in it and now is.",
  updated: "The object was in it and still is.",
  left: "The object was in it and no longer is.",
});

export const PolicyMethod = upperCased("PolicyMethod", "What happens to an execution above a policy's threshold.", {
  cancel: "It is cancelled.",
  enqueue: "It waits until another execution has ended.",
} satisfies Of<typeof policyMethod>);

export const LogStream = upperCased("LogStream", "The source of a chunk of output.", {
  stdout: "The action's standard output.",
  stderr: "The action's standard error.",
  system: "Attune's own messages about the run.",
} satisfies Of<typeof logStream>);

export const OwnerType = upperCased("OwnerType", "The kind of an owner.", {
  system: "The whole system.",
  identity: "An identity, by its login.",
  pack: "A pack, by its ref.",
  action: "An action, by its ref.",
  sensor: "A sensor, by its ref.",
} satisfies Of<typeof ownerType>);

export const ArtifactType = upperCased("ArtifactType", "The type of an artifact.", {
  file_binary: "A binary file.",
  file_datatable: "A table, such as CSV.",
  file_image: "An image.",
  file_text: "A text file.",
  other: "Another kind of file.",
  progress: "A progress log; it has no versions.",
  url: "A link; it has no versions.",
} satisfies Of<typeof artifactType>);

export const ArtifactRetention = upperCased("ArtifactRetention", "The unit of `retentionLimit`.", {
  versions: "Versions: only the newest are kept.",
  days: "Days: older versions are deleted, and the artifact itself when it has not changed for this time.",
  hours: "Hours, like DAYS.",
  minutes: "Minutes, like DAYS.",
} satisfies Of<typeof artifactRetention>);

export const ArtifactVisibility = upperCased("ArtifactVisibility", "Who may read an artifact.", {
  public: "All signed-in users.",
  private: "Identities that hold a grant covering it.",
} satisfies Of<typeof visibility>);

export const RecordEvaluations = upperCased("RecordEvaluations", "Which of a rule's evaluations are stored.", {
  none: "None.",
  near: "Matches, evaluations in which a criterion held or could not be evaluated, and those in which all conditions held.",
  all: "All.",
});

export const RuleFindingKind = upperCased("RuleFindingKind", "What a finding about a rule says.", {
  invalid: "The rule cannot be saved.",
  unknown_path: "The trigger's schema has no such path.",
  type_mismatch: "The comparison does not suit the type or the values that the trigger's schema declares.",
  ignored_value: "The operator ignores its value.",
  contradiction:
    "What must be so at once never is: conditions, the active hours and the ticks, or a backstop and a rule that matches every event.",
  unreachable: "The condition, the active hours or being a backstop never makes a difference.",
} satisfies Described<(typeof findingKinds)[number]>);

export const WorkerLoss = upperCased("WorkerLoss", "What happens to a running execution whose worker is lost.", {
  abandon: "It ends as ABANDONED: the action may have completed.",
  requeue: "It runs again: the action can safely run twice.",
});

export const Backoff = upperCased("Backoff", "How the delay before a retry grows.", {
  constant: "Always the same.",
  linear: "By the delay with each retry.",
  exponential: "Twice as long with each retry.",
} satisfies Described<RetryPolicy["backoff"]>);

export const RetryableStatus = upperCased(
  "RetryableStatus",
  "The final statuses after which an execution can be retried.",
  {
    failed: "It ended with an error.",
    timeout: "It exceeded its timeout.",
    abandoned: "Its worker was lost.",
  } satisfies Described<RetryPolicy["on"][number]>,
);

export const ParameterDelivery = upperCased("ParameterDelivery", "How an action receives its parameters.", {
  stdin: "On standard input.",
  file: "In a file that an environment variable names.",
});

export const ParameterFormat = upperCased("ParameterFormat", "The format of an action's parameters.", {
  json: "As JSON.",
  yaml: "As YAML.",
  dotenv: "As lines of NAME='value'.",
});

export const OutputFormat = upperCased("OutputFormat", "How an action's standard output is parsed into its result.", {
  text: "Not parsed.",
  json: "Parsed as JSON.",
  yaml: "Parsed as YAML.",
  jsonl: "Each line parsed as JSON.",
});

const operatorMeanings: Readonly<Record<string, string>> = {
  equals: "The field equals the value.",
  nequals: "The field differs from the value or is absent.",
  iequals: "The field equals the value, ignoring case.",
  contains: "The field's text or list contains the value.",
  ncontains: "The opposite of CONTAINS; true when the field is absent.",
  icontains: "Like CONTAINS, ignoring case.",
  incontains: "The opposite of ICONTAINS; true when the field is absent.",
  startswith: "The field's text begins with the value.",
  istartswith: "Like STARTSWITH, ignoring case.",
  endswith: "The field's text ends with the value.",
  iendswith: "Like ENDSWITH, ignoring case.",
  lt: "The field is less than the value. Numbers are compared with numbers, texts with texts.",
  lte: "The field is less than or equal to the value.",
  gt: "The field is greater than the value.",
  gte: "The field is greater than or equal to the value.",
  between: "The field is between the two items of the value, inclusive.",
  in: "The field is one of the value's items.",
  nin: "The field is none of the value's items, or is absent.",
  exists: "The field exists, even if null. Takes no value.",
  nexists: "The field is absent. Takes no value.",
  regex: "The field's text matches the regular expression (RE2 syntax, anywhere in the text).",
  iregex: "Like REGEX, ignoring case.",
  matchwildcard:
    "The field's whole text matches the wildcard pattern: * any text, ? one character, [abc] one of a set.",
  is_type: "The field is of the named type: string, number, integer, boolean, list, object or null.",
};

export const CriterionOperator = upperCased(
  "CriterionOperator",
  "How a criterion compares a field of an event's payload with its value.",
  Object.fromEntries(Object.keys(criterionOperators).map((name) => [name, operatorMeanings[name] ?? ""])),
);
