import { posix } from "node:path";
import type { Json, JsonObject } from "../../lib/json.ts";
import { didYouMean } from "../../lib/nearest.ts";
import type { ParameterMap } from "../../schema/parameter.ts";
import { celOf } from "./cel.ts";
import { coreActions } from "./core-actions.ts";
import { conditionsOf } from "./criteria.ts";
import type { Context } from "./import.ts";
import { Inexpressible, isTemplate } from "./jinja.ts";
import { keyOf, pathOf } from "./paths.ts";
import { scriptOf, shellTemplateOf } from "./shell.ts";
import { booleanOf, entryOf, nameOf, objectOf, type Source, textOf } from "./source.ts";
import { templateOf } from "./template.ts";
import { ofTimer, timerOf } from "./timers.ts";

/** Triggers of StackStorm itself that have no counterpart with the same payload. */
const others: Readonly<Record<string, string>> = {
  "core.st2.generic.actiontrigger": "its payload differs: write the rule for core.execution_ended",
  "core.st2.generic.notifytrigger":
    "Attune has no notifications of executions: write the rule for core.execution_ended",
  "core.st2.generic.inquiry": "its payload differs: write the rule for core.inquiry_opened",
  "core.st2.action.file_written": "Attune has no such trigger",
  "core.st2.sensor.process_spawn": "Attune has no such trigger; core.sensor_crashed is the nearest",
  "core.st2.sensor.process_exit": "its payload differs: write the rule for core.sensor_crashed",
  "core.st2.key_value_pair.create": "its payload differs: write the rule for core.key_changed",
  "core.st2.key_value_pair.update": "its payload differs: write the rule for core.key_changed",
  "core.st2.key_value_pair.value_change": "its payload differs: write the rule for core.key_changed",
  "core.st2.key_value_pair.delete": "its payload differs: write the rule for core.key_changed",
};

/** Converts the rules of the pack, and adds each to the draft. */
export function convertRules(context: Context): void {
  const taken = new Set<string>();
  for (const source of context.source.documents("rules")) {
    const name = textOf(source.value["name"]) ?? posix.basename(source.file).replace(/\.ya?ml$/, "");
    const ours = nameOf(name);
    let reason = source.issues.join("; ");
    if (reason === "" && (ours === "" || taken.has(ours)))
      reason = `its ref would be ${context.ref}.${ours}, which another rule has`;
    if (reason === "") {
      try {
        convertRule(source, { name, ours }, context);
        taken.add(ours);
      } catch (error) {
        if (!(error instanceof Inexpressible)) throw error;
        reason = error.message;
      }
    }
    if (reason !== "") context.draft.drop("rule", name, reason);
  }
}

function convertRule({ value }: Source, { name, ours }: { name: string; ours: string }, context: Context): void {
  const notes = name === ours ? [] : [`its ref is ${context.ref}.${ours}`];
  const trigger = triggerOf(objectOf(value["trigger"]), context);
  const isTimer = trigger.parse !== undefined;
  if (isTimer && Object.keys(objectOf(value["criteria"])).length > 0)
    throw new Inexpressible("its criteria compare what the events of our timers do not have");
  const conditions = conditionsOf(objectOf(value["criteria"]));
  const action = actionOf(objectOf(value["action"]), { ...context, parse: trigger.parse ?? context.parse });
  notes.push(...trigger.notes, ...action.notes);
  trigger.create?.();
  const file = `rules/${ours}.yaml`;
  context.writeYaml(file, {
    ...{
      ref: `${context.ref}.${ours}`,
      label: name.slice(0, 200),
      description: textOf(value["description"])?.slice(0, 10_000) ?? null,
    },
    ...{ enabled: booleanOf(value["enabled"], false), trigger_ref: trigger.ref, action_ref: action.ref },
    ...(textOf(objectOf(value["type"])["ref"]) === "backstop" ? { backstop: true } : {}),
    ...{ conditions, action_params: action.parameters, trigger_params: trigger.parameters },
  });
  context.draft.carry("rule", name, file, notes);
}

interface Target {
  ref: string;
  parameters: JsonObject;
  notes: string[];
  /** Adds what the rule needs, once the rest of it is carried. */
  create?: () => void;
  /** Parses the templates of the rule's action, if they need to be changed for the trigger. */
  parse?: Context["parse"];
}

function triggerOf(given: JsonObject, context: Context): Target {
  const type = textOf(given["type"]) ?? textOf(given["ref"]) ?? "";
  const parameters = objectOf(given["parameters"]);
  const timer = timerOf(type, parameters);
  if (timer) return { ...timer, notes: [], parse: (text) => ofTimer(context.parse(text)) };
  if (type === "core.st2.webhook") return webhookOf(parameters, context);
  const other = entryOf(others, type);
  if (other !== undefined) throw new Inexpressible(`the trigger ${type}: ${other}`);
  const own = context.triggers.get(type);
  const ref = own ?? refOfOther(type);
  if (own === undefined && !context.known.triggers.has(ref))
    throw new Inexpressible(
      `there is no trigger "${type}"${didYouMean(ref, [...context.triggers.keys()])}; name the imported pack that has it by --with`,
    );
  return { ref, parameters, notes: [] };
}

/** Returns the ref that a component of another pack has after its import. */
function refOfOther(type: string): string {
  const [pack = "", ...rest] = type.split(".");
  return `${nameOf(pack)}.${nameOf(rest.join("."))}`;
}

/** Rules on the same address share a trigger with a webhook. */
function webhookOf(parameters: JsonObject, context: Context): Target {
  const url = (textOf(parameters["url"]) ?? "").replace(/^\/+|\/+$/g, "");
  const name = nameOf(`webhook_${url}`);
  const ref = `${context.ref}.${name}`;
  const file = `triggers/${name}.yaml`;
  const create = () => {
    if (context.draft.files.has(file)) return;
    context.writeYaml(file, { ref, label: `Webhook ${url}`.slice(0, 200), description: null, webhook: true });
    context.draft.carry("trigger", name, file, [
      `the webhook ${url} gets an address of its own, which attune trigger show ${ref} prints`,
    ]);
  };
  return { ref, parameters: {}, create, notes: [`it is started by the webhook of ${ref}`] };
}

function actionOf(given: JsonObject, context: Context): Target {
  const name = textOf(given["ref"]) ?? "";
  const parameters = objectOf(given["parameters"]);
  if (name === "core.local") return localCommand(parameters, context);
  const core = entryOf(coreActions, name);
  if (typeof core === "string") throw new Inexpressible(`its action ${name}: ${core}`);
  if (core)
    return {
      ref: core.ref,
      parameters: converted(core.rename(parameters), core.schema, context),
      notes: core.ref === name ? [] : [`its action ${name} is ${core.ref}`],
    };
  const [pack = "", ...rest] = name.split(".");
  const own = pack === context.sourceName ? context.actions.get(rest.join(".")) : undefined;
  if (own && "reason" in own) throw new Inexpressible(`its action ${name} is not carried`);
  const ref = own?.ref ?? refOfOther(name);
  const schema = own?.parameters ?? context.known.actions.get(ref);
  if (schema === undefined)
    throw new Inexpressible(`there is no action "${name}"; name the imported pack that has it by --with`);
  if (!own) context.dependencies.add(nameOf(pack));
  return { ref, parameters: converted(parameters, schema, context), notes: [] };
}

/** Converts the templates of parameters, and writes constants in the type that the action expects. */
function converted(parameters: JsonObject, schema: ParameterMap | null, context: Context): JsonObject {
  return Object.fromEntries(
    Object.entries(parameters).flatMap(([name, value]) => {
      if (value === null) return [];
      try {
        return [[name, typed(convertValue(value, context), schema?.[name]?.type)]];
      } catch (error) {
        if (error instanceof Inexpressible) throw new Inexpressible(`the parameter ${name}: ${error.message}`);
        throw error;
      }
    }),
  );
}

function convertValue(value: Json, context: Context): Json {
  if (typeof value === "string") return isTemplate(value) ? templateOf(context.parse(value)) : value;
  if (Array.isArray(value)) return value.map((item) => convertValue(item, context));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      if (isTemplate(key)) throw new Inexpressible("the name of a field is a template");
      return [key, convertValue(item, context)];
    }),
  );
}

/** StackStorm casts what a rule passes. */
function typed(value: Json, type: string | undefined): Json {
  if (type === "string" && (typeof value === "number" || typeof value === "boolean")) return String(value);
  if (typeof value !== "string" || value.includes("{{")) return value;
  if (type === "boolean") return booleanOf(value, value === "1");
  if ((type === "integer" || type === "number") && value.trim() !== "" && !Number.isNaN(Number(value)))
    return Number(value);
  if (type !== "array" && type !== "object") return value;
  try {
    return JSON.parse(value) as Json;
  } catch {
    return type === "array" ? value.split(",").map((item) => item.trim()) : value;
  }
}

/** `core.local` runs a command line: its values become the arguments of `core.shell`. */
function localCommand(parameters: JsonObject, context: Context): Target {
  const line = textOf(parameters["cmd"]);
  if (line === null) throw new Inexpressible("its action core.local has no command line");
  const more = Object.keys(parameters).filter((name) => name !== "cmd" && name !== "timeout");
  if (more.length > 0)
    throw new Inexpressible(`the parameter ${more[0]} of core.local: core.shell has command, args and stdin only`);
  const template = shellTemplateOf(isTemplate(line) ? context.parse(line) : [{ text: line }]);
  const command = scriptOf(template, (number) => (number < 10 ? `$${number}` : `\${${number}}`));
  const args = template.values.map((value) => {
    const key = keyOf(value);
    if (key !== null) return `{{ key(${JSON.stringify(key)}) }}`;
    // Joined with a text, an object becomes text too.
    const isLarge = (pathOf(value)?.length ?? 0) <= 2;
    return `{{ ${celOf(value)} }}${isLarge ? '{{ "" }}' : ""}`;
  });
  const notes = ["its action core.local is core.shell"];
  if (args.length > 0) notes.push("values in the command line are its args, never code");
  return { ref: "core.shell", parameters: { command, ...(args.length > 0 ? { args } : {}) }, notes };
}
