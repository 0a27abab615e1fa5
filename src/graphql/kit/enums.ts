import type {
  artifactRetention,
  artifactType,
  auditOutcome,
  enforcementCondition,
  enforcementStatus,
  executionStatus,
  inquiryStatus,
  logStream,
  notificationState,
  ownerType,
  policyMethod,
  runtimeType,
  visibility,
  workerStatus,
  workerType,
} from "../../db/schema.ts";
import type { WaitsFor as ExecutionWaitsFor } from "../../execution/states.ts";
import { criterionOperators } from "../../lang/operators.ts";
import { builder } from "./builder.ts";

type Described<Value extends string> = Readonly<Record<Value, string>>;

/** An enum whose values are the stored ones in upper case, so that SQL, TypeScript and the API cannot drift apart. */
function upperCased<const Value extends string>(name: string, description: string, values: Described<Value>) {
  const entries = Object.entries<string>(values).map(
    ([value, meaning]) => [value.toUpperCase(), { value: value as Value, description: meaning }] as const, // a key of `values`
  );
  return builder.enumType(name, { description, values: Object.fromEntries(entries) });
}

type Of<Enum extends { enumValues: readonly string[] }> = Described<Enum["enumValues"][number]>;

export const ExecutionStatus = upperCased("ExecutionStatus", "How far an execution is.", {
  requested: "Asked for.",
  scheduling: "Being checked for whether it may start now.",
  scheduled: "Waiting for a worker.",
  running: "A worker runs it, or it has begun and waits: `waitsFor` says for what.",
  completed: "Ended well. Final.",
  failed: "Ended with an error. Final.",
  canceling: "Asked to stop; its worker has not yet said that it did.",
  cancelled: "Ended because someone wanted it to. Final.",
  timeout: "Ended because it took longer than allowed. Final.",
  abandoned: "Its worker was lost; whether it did its work is unknown. Final.",
} satisfies Of<typeof executionStatus>);

export const WaitsFor = upperCased("WaitsFor", "What an execution waits for, other than a worker.", {
  inquiry: "An answer to its inquiry.",
  tasks: "The tasks of its workflow.",
  slot: "A slot, as its action's policy limits how many run at a time.",
  time: "The time at which it was asked to run.",
  retry: "The delay before it is tried again.",
} satisfies Described<ExecutionWaitsFor>);

export const EnforcementStatus = upperCased("EnforcementStatus", "What became of a rule's match.", {
  created: "Matched; what follows is being made.",
  processed: "Dealt with: an execution was made, or `error` says why not.",
  disabled: "The rule was disabled in the meantime: nothing was made.",
} satisfies Of<typeof enforcementStatus>);

export const InquiryStatus = upperCased("InquiryStatus", "How far an inquiry is.", {
  pending: "Waiting for an answer.",
  responded: "Answered. Final.",
  timeout: "Time was up before anybody answered; the default response, if it has one, was taken. Final.",
  cancelled: "Taken back, or what asked has ended. Final.",
} satisfies Of<typeof inquiryStatus>);

export const AuditOutcome = upperCased("AuditOutcome", "How something that stands in the audit trail ended.", {
  success: "It was done.",
  failure: "It was refused for what it asked, or failed.",
  denied: "It was refused for who asked.",
} satisfies Of<typeof auditOutcome>);

export const RuleCondition = upperCased("RuleCondition", "How a rule's conditions are joined.", {
  any: "One that holds is enough.",
  all: "All must hold.",
} satisfies Of<typeof enforcementCondition>);

export const RuntimeType = upperCased("RuntimeType", "What runs in a runtime.", {
  action: "Actions.",
  sensor: "Sensors.",
} satisfies Of<typeof runtimeType>);

export const WorkerType = upperCased("WorkerType", "Where a worker's actions run.", {
  local: "In the worker's own machine, beside the server.",
  remote: "On another machine.",
  container: "In containers.",
} satisfies Of<typeof workerType>);

export const WorkerStatus = upperCased("WorkerStatus", "Whether a worker takes work.", {
  active: "It takes work.",
  inactive: "It has stopped, or was lost.",
  busy: "All its slots are taken.",
  error: "It cannot work.",
} satisfies Of<typeof workerStatus>);

export const CollectionChange = upperCased("CollectionChange", "What a change meant for a collection.", {
  entered: "The object was not in it, and is now.",
  updated: "The object was in it, and still is.",
  left: "The object was in it, and is not any more.",
});

export const PolicyMethod = upperCased("PolicyMethod", "What becomes of an execution above a policy's threshold.", {
  cancel: "It is cancelled.",
  enqueue: "It waits until another has ended.",
} satisfies Of<typeof policyMethod>);

export const LogStream = upperCased("LogStream", "Where a piece of output came from.", {
  stdout: "The action's standard output.",
  stderr: "The action's standard error.",
  system: "Attune itself, about the run.",
} satisfies Of<typeof logStream>);

export const NotificationState = upperCased("NotificationState", "How far a notification is in being handed on.", {
  created: "Written; whoever follows gets it.",
  queued: "Waiting to be handed on.",
  processing: "Being handed on.",
  error: "Could not be handed on.",
} satisfies Of<typeof notificationState>);

export const OwnerType = upperCased("OwnerType", "What kind of thing something belongs to.", {
  system: "The whole system.",
  identity: "An identity, by its login.",
  pack: "A pack, by its ref.",
  action: "An action, by its ref.",
  sensor: "A sensor, by its ref.",
} satisfies Of<typeof ownerType>);

export const ArtifactType = upperCased("ArtifactType", "What an artifact is.", {
  file_binary: "A file of bytes.",
  file_datatable: "A file with a table, such as CSV.",
  file_image: "An image.",
  file_text: "A file of text.",
  other: "A file of another kind.",
  progress: "How far something is; it has no versions.",
  url: "A link; it has no versions.",
} satisfies Of<typeof artifactType>);

export const ArtifactRetention = upperCased("ArtifactRetention", "What `retentionLimit` counts.", {
  versions: "Versions: the newest so many are kept.",
  days: "Days: what is older goes, and the artifact itself when it has not changed for so long.",
  hours: "Hours: as DAYS.",
  minutes: "Minutes: as DAYS.",
} satisfies Of<typeof artifactRetention>);

export const ArtifactVisibility = upperCased("ArtifactVisibility", "Who may read an artifact.", {
  public: "Everybody who is signed in.",
  private: "Whoever has a grant that covers it.",
} satisfies Of<typeof visibility>);

export const RecordEvaluations = upperCased(
  "RecordEvaluations",
  "Which of a rule's decisions are kept for explaining.",
  {
    none: "None.",
    near: "Matches, and those that failed at a single criterion.",
    all: "All.",
  },
);

export const WorkerLoss = upperCased("WorkerLoss", "What becomes of a running execution whose worker is lost.", {
  abandon: "It ends as ABANDONED: the action may have done its work.",
  requeue: "It is run again: the action may safely run twice.",
});

export const ParameterDelivery = upperCased("ParameterDelivery", "How an action gets its parameters.", {
  stdin: "On standard input.",
  file: "In a file that an environment variable names.",
});

export const ParameterFormat = upperCased("ParameterFormat", "How an action's parameters are written.", {
  json: "As JSON.",
  yaml: "As YAML.",
  dotenv: "As lines of NAME='value'.",
});

export const OutputFormat = upperCased("OutputFormat", "How an action's standard output becomes its result.", {
  text: "As it is.",
  json: "Parsed as JSON.",
  yaml: "Parsed as YAML.",
  jsonl: "Each line parsed as JSON.",
});

export const HmacAlgorithm = upperCased("HmacAlgorithm", "The hash below a webhook's signature.", {
  sha256: "SHA-256.",
  sha512: "SHA-512.",
});

const operatorMeanings: Readonly<Record<string, string>> = {
  equals: "The field is exactly the value.",
  nequals: "The field is not the value, or absent.",
  iequals: "The field is the value, whatever the case.",
  contains: "The field's text contains the value, or the field's list has it.",
  ncontains: "The opposite of CONTAINS; true when the field is absent.",
  icontains: "As CONTAINS, whatever the case.",
  incontains: "The opposite of ICONTAINS; true when the field is absent.",
  startswith: "The field's text begins with the value.",
  istartswith: "As STARTSWITH, whatever the case.",
  endswith: "The field's text ends with the value.",
  iendswith: "As ENDSWITH, whatever the case.",
  lt: "The field is less than the value: numbers with numbers, texts with texts.",
  lte: "The field is less than or equal to the value.",
  gt: "The field is greater than the value.",
  gte: "The field is greater than or equal to the value.",
  between: "The field is from the first to the second of the value's two items, both included.",
  in: "The field is one of the value's items.",
  nin: "The field is none of the value's items, or absent.",
  exists: "The field is there, be it null. Takes no value.",
  nexists: "The field is absent. Takes no value.",
  regex: "The field's text matches the regular expression (RE2 syntax, anywhere in the text).",
  iregex: "As REGEX, whatever the case.",
  matchwildcard:
    "The field's whole text matches the wildcard pattern: * any text, ? one character, [abc] one of a set.",
  is_type: "The field is of the named type: string, number, integer, boolean, list, object or null.",
};

export const CriterionOperator = upperCased(
  "CriterionOperator",
  "How a criterion compares a field of an event's payload with its value.",
  Object.fromEntries(Object.keys(criterionOperators).map((name) => [name, operatorMeanings[name] ?? ""])),
);
