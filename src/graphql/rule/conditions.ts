import { isObject, type Json, type JsonObject } from "../../lib/json.ts";
import { builder } from "../kit/builder.ts";
import { CriterionOperator } from "../kit/enums.ts";

interface RuleConditionShape {
  field?: string | null;
  operator?: string | null;
  value?: NonNullable<unknown> | null;
  any?: readonly RuleConditionShape[] | null;
  all?: readonly RuleConditionShape[] | null;
  not?: RuleConditionShape | null;
  expression?: string | null;
}

const ref = builder.inputRef<RuleConditionShape>("RuleConditionInput");

/** The input of one condition of a rule. */
export const RuleConditionInput = ref.implement({
  description:
    "A condition of a rule, in one of these forms: `{field, operator, value}`, `{any: […]}`, `{all: […]}`, `{not: …}`, `{expression}`.",
  fields: (t) => ({
    field: t.string({
      description:
        'The path of the compared field in the event\'s payload, such as "body.action" or "/headers/x-name".',
    }),
    operator: t.field({ type: CriterionOperator, description: "The comparison." }),
    value: t.field({ type: "JSON", description: "The value to compare with; not for EXISTS and NEXISTS." }),
    any: t.field({ type: [ref], description: "Conditions of which at least one must hold." }),
    all: t.field({ type: [ref], description: "Conditions of which all must hold." }),
    not: t.field({ type: ref, description: "The condition that must not hold." }),
    expression: t.string({ description: 'A CEL expression that returns true or false: "event.payload.size > 10".' }),
  }),
});

/** Returns the condition as it is stored: only the given fields; a null `value` counts as given. */
export function toCondition(input: RuleConditionShape): JsonObject {
  const { field, operator, value, any, all, not, expression } = input;
  const condition: JsonObject = {};
  if (typeof field === "string") condition["field"] = field;
  if (typeof operator === "string") condition["operator"] = operator;
  if (value !== undefined) condition["value"] = value as Json; // the scalar JSON accepts only JSON
  if (any) condition["any"] = any.map(toCondition);
  if (all) condition["all"] = all.map(toCondition);
  if (not) condition["not"] = toCondition(not);
  if (typeof expression === "string") condition["expression"] = expression;
  return condition;
}

/** Returns stored conditions as the input has them, with operators in capitals, so that what is read can be sent back. */
export const fromConditions = (stored: readonly Json[]): Json[] => stored.map(fromCondition);

function fromCondition(stored: Json): Json {
  if (!isObject(stored)) return stored;
  const spell: Record<string, (value: Json) => Json> = {
    operator: (value) => (typeof value === "string" ? value.toUpperCase() : value),
    any: (value) => (Array.isArray(value) ? fromConditions(value) : value),
    all: (value) => (Array.isArray(value) ? fromConditions(value) : value),
    not: fromCondition,
  };
  return Object.fromEntries(Object.entries(stored).map(([name, value]) => [name, spell[name]?.(value) ?? value]));
}
