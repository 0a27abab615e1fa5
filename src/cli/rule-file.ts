import type { Context } from "./context.ts";
import { UsageFailure } from "./failure.ts";
import { readDocument } from "./input.ts";

type Fields = Record<string, unknown>;

const contents = ["condition", "conditions", "action_params", "window", "active_hours", "backstop"];
const others = ["trigger_params", "max_starts", "execution_priority"];
const names = ["ref", "label", "description", "enabled", "trigger_ref", "action_ref"];

/**
 * Returns the rule to try, as inputs of the API take it: the one with that ref, with the contents of a rule's file if there is one, or the file as a rule
 * that does not exist. Throws UsageFailure for what is no file of a rule.
 */
export async function triedRule(context: Context, rule: string | undefined, file: string | undefined): Promise<Fields> {
  if (rule === undefined && file === undefined) throw new UsageFailure("Give the ref of a rule, or a file by --draft.");
  if (file === undefined) return { rule };
  const written = await readDocument(context, file);
  return rule === undefined ? { draft: draftOf(written) } : { rule, ...pick(fieldsOf(written), contents) };
}

/** Returns the draft in a rule's file. Throws UsageFailure. */
export function draftOf(written: unknown): Fields {
  const fields = fieldsOf(written);
  const { ref, trigger_ref: trigger, action_ref: action } = fields;
  for (const name of ["trigger_ref", "action_ref"]) {
    if (fields[name] === undefined) throw new UsageFailure(`The draft has no ${name}, which a rule needs.`);
  }
  return { ...(ref === undefined ? {} : { ref }), trigger, action, ...pick(fields, [...contents, ...others]) };
}

function fieldsOf(written: unknown): Fields {
  if (typeof written !== "object" || written === null || Array.isArray(written)) {
    throw new UsageFailure("The draft must be an object with conditions or action_params, like the file of a rule.");
  }
  const known = [...names, ...contents, ...others];
  const unknown = Object.keys(written).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new UsageFailure(`The draft has "${unknown}", which no rule has: expected ${known.join(", ")}.`);
  }
  return written as Fields;
}

/** Returns the given fields with the names and the values that the API has for them. */
function pick(fields: Fields, wanted: readonly string[]): Fields {
  const given = wanted.filter((name) => fields[name] !== undefined);
  return Object.fromEntries(
    given.map((name) => [
      name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      (converted[name] ?? ((value) => value))(fields[name]),
    ]),
  );
}

const converted: Readonly<Record<string, (value: unknown) => unknown>> = {
  condition: upper,
  conditions: toInput,
  window: (value) => mapAt(value, ["absence", "of"], answersToInput),
  active_hours: (value) =>
    mapAt(value, ["spans"], (spans) =>
      Array.isArray(spans) ? spans.map((each) => mapAt(each, ["days"], upper)) : spans,
    ),
};

const answersToInput = (answers: unknown) => mapAt(mapAt(answers, ["condition"], upper), ["conditions"], toInput);

/** The API has the names of its choices in capitals. */
function upper(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(upper);
  return typeof value === "string" ? value.toUpperCase() : value;
}

/** Returns the value with what is at the path changed, if there is anything. */
function mapAt(value: unknown, path: readonly string[], change: (part: unknown) => unknown): unknown {
  const [name, ...below] = path;
  if (name === undefined) return change(value);
  if (typeof value !== "object" || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return value;
  return { ...value, [name]: mapAt((value as Fields)[name], below, change) };
}

/** The API has the names of operators in capitals. What a condition compares with stays as it is. */
function toInput(conditions: unknown): unknown {
  if (Array.isArray(conditions)) return conditions.map(toInput);
  if (typeof conditions !== "object" || conditions === null) return conditions;
  const entries = Object.entries(conditions).map(([name, value]) => {
    if (name === "operator") return [name, upper(value)];
    return [name, name === "any" || name === "all" || name === "not" ? toInput(value) : value];
  });
  return Object.fromEntries(entries);
}

/** Returns the time that an option gives, as the API takes it. Throws UsageFailure. */
export function timeOf(name: string, text: string): string {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) {
    throw new UsageFailure(`${name} "${text}" is no time: write it as 2026-03-01T00:00:00Z.`);
  }
  return time.toISOString();
}
