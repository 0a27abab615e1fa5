import { posix } from "node:path";
import type { JsonObject } from "../../lib/json.ts";
import type { Context } from "./import.ts";
import { convertParameters } from "./parameters.ts";
import { needsOf } from "./python.ts";
import { booleanOf, entryOf, listOf, nameOf, objectOf, type Source, textOf } from "./source.ts";

const nameIn = ({ file, value }: Source) => textOf(value["name"]) ?? posix.basename(file).replace(/\.ya?ml$/, "");

/** Converts the trigger types of the pack: those in files of their own, and those that sensors declare. */
export function convertTriggers(context: Context): void {
  for (const source of context.source.documents("triggers")) {
    const name = nameIn(source);
    if (source.issues.length > 0) context.draft.drop("trigger", name, source.issues.join("; "));
    else convertTrigger(name, source.value, context);
  }
}

/** Returns the ref of the new trigger; null if there is none. */
function convertTrigger(name: string, value: JsonObject, context: Context): string | null {
  const { draft } = context;
  const ours = nameOf(name);
  const ref = `${context.ref}.${ours}`;
  const file = `triggers/${ours}.yaml`;
  if (ours === "" || draft.files.has(file)) {
    draft.drop("trigger", name, `its ref would be ${ref}, which another trigger has`);
    return null;
  }
  const payload = objectOf(value["payload_schema"]);
  const fields = convertParameters(requiredIn(payload), { open: true });
  const parameters = convertParameters(requiredIn(objectOf(value["parameters_schema"])), { open: false });
  const unnamed = [...fields.refused.keys()].map((field) => `the field ${field} of its payload is not described`);
  for (const [parameter, reason] of parameters.refused)
    unnamed.push(`the parameter ${parameter} is left out: ${reason}`);
  const notes = [...(name === ours ? [] : [`its ref is ${ref}`]), ...fields.notes, ...parameters.notes, ...unnamed];
  context.writeYaml(file, {
    ...{ ref, label: name.slice(0, 200), description: textOf(value["description"])?.slice(0, 10_000) ?? null },
    parameters: parameters.parameters as unknown as JsonObject, // it is JSON
    output: (Object.keys(fields.parameters).length > 0 ? fields.parameters : null) as unknown as JsonObject,
  });
  draft.carry("trigger", name, file, notes);
  context.triggers.set(`${context.sourceName}.${name}`, ref);
  return ref;
}

/** Returns the properties of a schema, each with what its list `required` says. */
function requiredIn(schema: JsonObject): JsonObject {
  const required = new Set(listOf(schema["required"]).map(String));
  return Object.fromEntries(
    Object.entries(objectOf(schema["properties"])).map(([name, value]) => [
      name,
      required.has(name) ? { ...objectOf(value), required: true } : value,
    ]),
  );
}

/** Converts the sensors of the pack, with the trigger types that they declare. */
export function convertSensors(context: Context): void {
  for (const source of context.source.documents("sensors")) {
    const name = textOf(source.value["class_name"]) ?? posix.basename(source.file).replace(/\.ya?ml$/, "");
    const { issues, value } = source;
    if (issues.length > 0) {
      context.draft.drop("sensor", name, issues.join("; "));
      continue;
    }
    const triggers: Record<string, string> = {};
    for (const type of listOf(value["trigger_types"])) {
      const declared = objectOf(type);
      const typeName = textOf(declared["name"]);
      const ref = typeName === null ? null : convertTrigger(typeName, declared, context);
      if (typeName !== null && ref !== null) triggers[`${context.sourceName}.${typeName}`] = ref;
    }
    const reason = convertSensor(name, value, { triggers, context });
    if (reason !== null) context.draft.drop("sensor", name, reason);
  }
}

/** Adds a sensor; returns why that cannot be. */
function convertSensor(
  name: string,
  value: JsonObject,
  { triggers, context }: { triggers: Record<string, string>; context: Context },
): string | null {
  const entry = posix.normalize(posix.join("sensors", textOf(value["entry_point"]) ?? ""));
  if (entry.startsWith("../") || !context.source.paths.has(entry)) return `there is no file ${entry} in the pack`;
  if (Object.keys(triggers).length === 0)
    return "it has no trigger types: Attune runs a sensor while a rule uses one of its triggers";
  const needs = needsOf(entry, context.source.contents);
  if (needs.missing.length > 0)
    return `it imports ${needs.missing.join(", ")} of StackStorm: write it as docs/sensors.md says`;
  if (needs.usesDatastore)
    return "it uses the datastore, and the token of a sensor may only emit events: keep its state elsewhere, as docs/sensors.md says";
  for (const library of needs.libraries) context.libraries.add(library);
  const ours = nameOf(name);
  const ref = `${context.ref}.${ours}`;
  const file = `sensors/${ours}.yaml`;
  if (ours === "" || context.draft.files.has(file)) return `its ref would be ${ref}, which another sensor has`;
  const interval = Number(value["poll_interval"] ?? 20);
  const spec = {
    ...{ class_name: name, entry, poll_interval: interval > 0 ? interval : 20, triggers, pack: context.ref },
    ...{ defaults: context.settings.defaults },
  };
  context.draft.write(`st2/${ours}.sensor.py`, "import attune_st2.sensor\n\nattune_st2.sensor.main(__file__)\n");
  context.draft.write(`st2/${ours}.sensor.json`, `${JSON.stringify(spec, null, 2)}\n`);
  const parameters = Object.fromEntries(
    Object.entries(context.settings.whole).map(([key, { required: _, ...one }]) => [key, one]),
  ) as unknown as JsonObject; // it is JSON
  context.writeYaml(file, {
    ...{ ref, label: name.slice(0, 200), description: textOf(value["description"])?.slice(0, 10_000) ?? null },
    ...{ enabled: booleanOf(value["enabled"], true), runner_type: "python", entry_point: `st2/${ours}.sensor.py` },
    ...{ trigger_types: Object.values(triggers), parameters },
  });
  const settings =
    Object.keys(parameters).length > 0 ? ["its settings are its own: config in its file, or updateSensor"] : [];
  context.draft.carry("sensor", name, file, [`its ref is ${ref}`, ...settings]);
  return null;
}

/** Lists the aliases, which have no counterpart. */
export function listAliases({ source, draft }: Context): void {
  for (const each of source.documents("aliases")) {
    const action = textOf(each.value["action_ref"]) ?? "its action";
    draft.drop(
      "alias",
      nameIn(each),
      `Attune has no chat: run ${action} by attune run, or by a rule on the webhook of the chat`,
    );
  }
}

/** Carries retries to their actions, and lists the other policies. */
export function convertPolicies(context: Context): void {
  for (const source of context.source.documents("policies")) {
    const name = nameIn(source);
    const reason = source.issues.length > 0 ? source.issues.join("; ") : convertPolicy(name, source.value, context);
    if (reason !== null) context.draft.drop("policy", name, reason);
  }
}

function convertPolicy(name: string, value: JsonObject, context: Context): string | null {
  const type = textOf(value["policy_type"]) ?? "";
  const target = textOf(value["resource_ref"]) ?? "";
  const parameters = objectOf(value["parameters"]);
  const [pack = "", ...rest] = target.split(".");
  const action = pack === context.sourceName ? context.actions.get(rest.join(".")) : undefined;
  const isCarried = action !== undefined && !("reason" in action);
  if (!booleanOf(value["enabled"], true)) return "it is disabled";
  if (type === "action.retry") {
    if (!isCarried) return `its action ${target} is not one of the carried ones: set retry where the action is`;
    const on = entryOf({ failure: "failed", timeout: "timeout" }, textOf(parameters["retry_on"]) ?? "");
    const max = Number(parameters["max_retry_count"] ?? 2);
    if (on === undefined || !(max >= 1 && max <= 100))
      return "retry_on must be failure or timeout, and max_retry_count 1 to 100";
    action.manifest["retry"] = {
      max: Math.floor(max),
      delay: Math.max(0, Number(parameters["delay"] ?? 0) || 0),
      on: [on],
    };
    context.writeYaml(action.file, action.manifest);
    context.draft.carry("policy", name, null, [`it is retry of the action ${action.ref}`]);
    return null;
  }
  const threshold = Number(parameters["threshold"] ?? 0);
  const keys = listOf(parameters["attributes"]).map(String);
  const group = type === "action.concurrency.attr" ? `, parameters: ${JSON.stringify(keys)}` : "";
  const ref = isCarried ? action.ref : target;
  if (type.startsWith("action.concurrency"))
    return `the files of a pack hold no policies: create one over the API with createPolicy, for the action ${ref}, with a limit of ${threshold}${group}`;
  return `the policy type "${type}" has no counterpart`;
}
