import { builder } from "./builder.ts";
import {
  ArtifactRetention,
  ArtifactType,
  ArtifactVisibility,
  AuditOutcome,
  EnforcementStatus,
  ExecutionStatus,
  InquiryStatus,
  LogStream,
  OwnerType,
  PackEnvironmentStatus,
  PackTestReason,
  PolicyMethod,
  RuntimeType,
  SlotState,
  TestProgressStatus,
  WaitsFor,
  WorkerStatus,
  WorkerType,
} from "./enums.ts";
import { filterOperators, type OperatorName } from "./operators.ts";

/** The input that filters one field: values by operator. */
export type Operators = Readonly<Record<string, unknown>>;

type ScalarName = "String" | "ID" | "DateTime" | "Int" | "BigInt" | "Boolean" | typeof ExecutionStatus;

function operatorsInput(
  name: string,
  description: string,
  of: { type: ScalarName; operators: readonly OperatorName[] },
) {
  return builder.inputRef<Operators>(name).implement({
    description: `${description} All given operators must hold.`,
    fields: (t) =>
      Object.fromEntries(
        of.operators.map((operator) => {
          const options = { description: filterOperators[operator].description, required: false } as const;
          if (operator === "isNull") return [operator, t.boolean(options)];
          if (operator === "in" || operator === "notIn") return [operator, t.field({ ...options, type: [of.type] })];
          return [operator, t.field({ ...options, type: of.type })];
        }),
      ),
  });
}

const choice: readonly OperatorName[] = ["eq", "in", "notIn", "isNull"];
const ordered: readonly OperatorName[] = ["eq", "gt", "gte", "lt", "lte", "isNull"];

function enumFilter(name: string, type: unknown) {
  // The builder's types distinguish enums by their values, which do not matter here.
  const comparable = type as typeof ExecutionStatus;
  return operatorsInput(`${name}Filter`, `Filters by ${name}.`, { type: comparable, operators: choice });
}

export const StringFilter = operatorsInput("StringFilter", "Filters by a text.", {
  type: "String",
  operators: ["eq", "in", "notIn", "contains", "startsWith", "isNull"],
});
export const IDFilter = operatorsInput("IDFilter", "Filters by an object's id.", { type: "ID", operators: choice });
export const DateTimeFilter = operatorsInput("DateTimeFilter", "Filters by a point in time.", {
  type: "DateTime",
  operators: ordered,
});
export const IntFilter = operatorsInput("IntFilter", "Filters by a number.", {
  type: "Int",
  operators: ["in", ...ordered],
});
export const BigIntFilter = operatorsInput("BigIntFilter", "Filters by a 64-bit number.", {
  type: "BigInt",
  operators: ordered,
});
export const BooleanFilter = operatorsInput("BooleanFilter", "Filters by a boolean.", {
  type: "Boolean",
  operators: ["eq"],
});
export const ExecutionStatusFilter = enumFilter("ExecutionStatus", ExecutionStatus);
export const AuditOutcomeFilter = enumFilter("AuditOutcome", AuditOutcome);
export const WaitsForFilter = enumFilter("WaitsFor", WaitsFor);
export const EnforcementStatusFilter = enumFilter("EnforcementStatus", EnforcementStatus);
export const InquiryStatusFilter = enumFilter("InquiryStatus", InquiryStatus);
export const RuntimeTypeFilter = enumFilter("RuntimeType", RuntimeType);
export const PackEnvironmentStatusFilter = enumFilter("PackEnvironmentStatus", PackEnvironmentStatus);
export const TestProgressStatusFilter = enumFilter("TestProgressStatus", TestProgressStatus);
export const PackTestReasonFilter = enumFilter("PackTestReason", PackTestReason);
export const WorkerStatusFilter = enumFilter("WorkerStatus", WorkerStatus);
export const WorkerTypeFilter = enumFilter("WorkerType", WorkerType);
export const LogStreamFilter = enumFilter("LogStream", LogStream);
export const OwnerTypeFilter = enumFilter("OwnerType", OwnerType);
export const ArtifactTypeFilter = enumFilter("ArtifactType", ArtifactType);
export const ArtifactRetentionFilter = enumFilter("ArtifactRetention", ArtifactRetention);
export const ArtifactVisibilityFilter = enumFilter("ArtifactVisibility", ArtifactVisibility);
export const SlotStateFilter = enumFilter("SlotState", SlotState);
export const PolicyMethodFilter = enumFilter("PolicyMethod", PolicyMethod);
