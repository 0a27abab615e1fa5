import { z } from "zod";
import { grantList } from "../access/grants.ts";
import { InvalidInputError } from "../errors.ts";
import { compileRegex } from "../lib/regex.ts";
import { parameterMap } from "../schema/schema.ts";
import { activeHours, executionPriority } from "./active-hours.ts";
import { containerManifest } from "./container.ts";
import { dependency } from "./dependencies.ts";
import { LONGEST_TIMEOUT, retryPolicy } from "./retry.ts";
import { testing } from "./testing.ts";
import { maxStarts, windowDefinition } from "./window.ts";

const REF = {
  pack: /^[a-z][a-z0-9_-]+$/,
  component: /^[a-z][a-z0-9_-]+\.[a-z0-9][a-z0-9_-]*$/,
  runtime: /^[a-z][a-z0-9_-]+\.(action|sensor)\.[a-z0-9][a-z0-9_-]*$/,
};
const SEMVER =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*))*)?(\+[\da-zA-Z-]+(\.[\da-zA-Z-]+)*)?$/;

export const packRef = z.string().max(100).regex(REF.pack, 'expected a pack ref such as "my_pack" (a-z, 0-9, _ and -)');
const componentRef = z
  .string()
  .max(200)
  .regex(REF.component, 'expected a ref such as "my_pack.my_name" (lower case, exactly one dot)');
export const runtimeRefText = z
  .string()
  .max(200)
  .regex(REF.runtime, 'expected a runtime ref such as "my_pack.action.my_name" or "my_pack.sensor.my_name"');

export const semver = z.string().max(100).regex(SEMVER, 'expected a semantic version such as "1.2.3"');
const label = z.string().min(1).max(200);
const description = z.string().max(10_000).nullable().default(null);
const enabled = z.boolean().default(true);
const texts = z.array(z.string().min(1).max(200)).max(100);
const jsonObject = z.record(z.string(), z.json());

/** `pack.yaml`: the pack itself. `keywords` is another name of `tags`. */
export const packManifest = z
  .strictObject({
    ref: packRef,
    label,
    version: semver,
    description,
    author: z.string().max(200).nullable().default(null),
    email: z.string().max(200).nullable().default(null),
    system: z.boolean().default(false),
    enabled,
    conf_schema: parameterMap.default({}),
    config: jsonObject.default({}),
    meta: jsonObject.default({}),
    tags: texts.optional(),
    keywords: texts.optional(),
    runtime_deps: texts.default([]),
    dependencies: z.array(dependency).max(100).default([]),
    testing: testing.nullable().default(null),
  })
  .refine((pack) => !(pack.tags && pack.keywords), { path: ["keywords"], message: "is another name of tags; use one" })
  .transform(({ tags, keywords, ...pack }) => ({ ...pack, tags: tags ?? keywords ?? [] }));

const runnerType = z.enum(["builtin", "shell", "bash", "python", "node", "container", "pack", "workflow"]);

/** `actions/*.yaml`: an action. `timeout` and the delays of `retry` are seconds. */
export const actionManifest = z.strictObject({
  ref: componentRef,
  label,
  description,
  enabled,
  runner_type: runnerType,
  entry_point: z.string().min(1).max(500).nullable().default(null),
  container: containerManifest.nullable().default(null),
  parameters: parameterMap.default({}),
  output: parameterMap.nullable().default(null),
  parameter_delivery: z.enum(["stdin", "file"]).default("stdin"),
  parameter_format: z.enum(["json", "yaml", "dotenv"]).default("json"),
  output_format: z.enum(["text", "json", "yaml", "jsonl"]).default("text"),
  timeout: z.int().positive().max(LONGEST_TIMEOUT).nullable().default(null),
  retry: retryPolicy.nullable().default(null),
  on_worker_loss: z.enum(["abandon", "requeue"]).default("abandon"),
  permission_set_refs: z.array(componentRef).max(100).default([]),
  worker_selector: z.record(z.string().min(1), z.string()).default({}),
  tags: texts.default([]),
});

/** `triggers/*.yaml`: a kind of event. `webhook`: whether the webhook is enabled on the first load. */
export const triggerManifest = z.strictObject({
  ref: componentRef,
  label,
  description,
  enabled,
  parameters: parameterMap.default({}),
  output: parameterMap.nullable().default(null),
  webhook: z.boolean().default(false),
});

/** `sensors/*.yaml`: a program that emits events of triggers of its pack. `config`: the values of its parameters. */
export const sensorManifest = z.strictObject({
  ref: componentRef,
  label,
  description,
  enabled,
  runner_type: z.enum(["shell", "python", "node"]),
  entry_point: z.string().min(1).max(500),
  trigger_types: z.array(componentRef).min(1).max(100),
  parameters: parameterMap.default({}),
  config: jsonObject.default({}),
});

const pattern = z.string().superRefine((text, context) => {
  try {
    compileRegex(text);
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    context.addIssue({ code: "custom", message: error.message });
  }
});

/** How to find an interpreter: the first command that exits 0; `pattern`'s group captures the version. */
export const distributions = z.strictObject({
  commands: z
    .array(
      z.strictObject({
        command: z.string().min(1).max(500),
        args: z.array(z.string().max(500)).max(20).default([]),
        pattern: pattern.nullable().default(null),
      }),
    )
    .max(20)
    .default([]),
  min_version: z.string().min(1).max(50).nullable().default(null),
});

/** `runtimes/*.yaml`: an interpreter. Without commands in `distributions`, nothing needs to be installed. */
export const runtimeManifest = z
  .strictObject({
    ref: runtimeRefText,
    description,
    runtime_type: z.enum(["action", "sensor"]),
    name: z.string().min(1).max(100),
    distributions,
    installation: jsonObject.nullable().default(null),
  })
  .refine((runtime) => runtime.ref.split(".")[1] === runtime.runtime_type, {
    path: ["runtime_type"],
    message: "expected the type in the ref",
  });

/** `permission_sets/*.yaml`: grants that identities and tokens may hold together. */
export const permissionSetManifest = z.strictObject({
  ref: componentRef,
  label,
  description,
  grants: grantList.default([]),
});

/** `rules/*.yaml`: runs an action when an event of a trigger meets the conditions, which are checked when they are compiled. */
export const ruleManifest = z.strictObject({
  ref: componentRef,
  label,
  description,
  enabled,
  trigger_ref: componentRef,
  action_ref: componentRef,
  condition: z.enum(["any", "all"]).default("all"),
  conditions: z.array(jsonObject).max(100).default([]),
  action_params: jsonObject.default({}),
  trigger_params: jsonObject.default({}),
  window: windowDefinition.nullable().default(null),
  max_starts: maxStarts.nullable().default(null),
  backstop: z.boolean().default(false),
  active_hours: activeHours.nullable().default(null),
  execution_priority: executionPriority.default(0),
});

export type PackManifest = z.output<typeof packManifest>;
export type ActionManifest = z.output<typeof actionManifest>;
export type TriggerManifest = z.output<typeof triggerManifest>;
export type SensorManifest = z.output<typeof sensorManifest>;
export type RuntimeManifest = z.output<typeof runtimeManifest>;
export type PermissionSetManifest = z.output<typeof permissionSetManifest>;
export type RuleManifest = z.output<typeof ruleManifest>;
type RunnerType = z.output<typeof runnerType>;

const RUNTIMES: Record<RunnerType, string | null> = {
  builtin: "core.action.builtin",
  shell: "core.action.shell",
  bash: "core.action.bash",
  python: "core.action.python",
  node: "core.action.nodejs",
  container: "core.action.container",
  pack: "core.action.pack",
  workflow: null,
};

/** Returns the ref of the runtime of sensors of this runner type. */
export const sensorRuntimeRef = (runner: SensorManifest["runner_type"]): string =>
  `core.sensor.${runner === "node" ? "nodejs" : runner}`;

/** The names of the runner types, which a pack may list in `runtime_deps`. */
export const runnerTypes: readonly string[] = Object.keys(RUNTIMES);

export const unfitForDotenv = "must be letters, digits and underscores to be passed as dotenv";

/** Returns the names of parameters that the format dotenv cannot carry. */
export function namesUnfitForDotenv(parameters: unknown): string[] {
  if (typeof parameters !== "object" || parameters === null) return [];
  return Object.keys(parameters).filter((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
}

/** Returns the ref of the runtime of this runner type; null for a workflow, which no worker runs. */
export function runtimeRef(runner: RunnerType): string | null {
  return RUNTIMES[runner];
}
