import { parametersOf } from "../../schema/fields.ts";
import { hideSecrets } from "../../secrecy/settings.ts";
import { permissionSets } from "../access/permission-set.ts";
import { builder } from "../kit/builder.ts";
import { byFlag, byOwnId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { byAnyOf, byWords } from "../kit/text-filter.ts";
import { policies } from "../policy/policy.ts";
import { rules } from "../rule/rule.ts";
import { actions } from "./action.ts";
import { environments } from "./environment.ts";
import { runtimes } from "./runtime.ts";
import { sensors } from "./sensor.ts";
import { triggers } from "./trigger.ts";
import { workflows } from "./workflow.ts";

/** A bundle of catalog entities. */
export const Pack = builder.drizzleNode("packs", {
  name: "Pack",
  description: "A bundle of triggers, actions, rules and runtimes.",
  id: { column: (pack) => pack.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its unique name. Its entities are named `ref.name`." }),
    label: t.exposeString("label", { description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it is for." }),
    version: t.exposeString("version", { description: "Its semantic version." }),
    tags: t.exposeStringList("tags", { description: "Keywords to find it by." }),
    isStandard: t.exposeBoolean("isStandard", { description: "Whether it is part of Attune." }),
    meta: t.expose("meta", { type: "JSONObject", description: "Any further data from its files." }),
    confSchema: t.expose("confSchema", { type: "JSONObject", description: "Its settings, by name." }),
    config: t.field({
      type: "JSONObject",
      description: "The values of its settings; secret ones are hidden.",
      select: { columns: { config: true, confSchema: true } },
      resolve: ({ config, confSchema }) => hideSecrets(parametersOf(confSchema), config),
    }),
    dependencies: t.exposeStringList("dependencies", {
      description:
        "The packs that it needs: refs, with a range of versions where not every one will do, such as `greetings@^1.2`.",
    }),
    runtimeDeps: t.exposeStringList("runtimeDeps", { description: "The refs of the runtimes that it needs." }),
    sourceType: t.exposeString("sourceType", {
      nullable: true,
      description: "The kind of source that it was installed from.",
    }),
    sourceUrl: t.exposeString("sourceUrl", { nullable: true, description: "The address that it was installed from." }),
    installedAt: t.expose("installedAt", { type: "DateTime", nullable: true, description: "When it was installed." }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    actions: t.relatedConnection("actions", actions.related("Its actions."), actions.connection),
    triggers: t.relatedConnection("triggers", triggers.related("Its triggers."), triggers.connection),
    rules: t.relatedConnection("rules", rules.related("Its rules."), rules.connection),
    sensors: t.relatedConnection("sensors", sensors.related("Its sensors."), sensors.connection),
    policies: t.relatedConnection(
      "policies",
      policies.related(
        "The policies that apply to all its actions. Those of a single action are fields of the action.",
      ),
      policies.connection,
    ),
    workflows: t.relatedConnection("workflows", workflows.related("Its workflows."), workflows.connection),
    permissionSets: t.relatedConnection(
      "permissionSets",
      permissionSets.related("Its permission sets."),
      permissionSets.connection,
    ),
    environments: t.relatedConnection(
      "environments",
      environments.related("The environments that its Python and Node.js actions run in."),
      environments.connection,
    ),
    runtimes: t.relatedConnection("runtimes", runtimes.related("The runtimes that it defines."), runtimes.connection),
  }),
});

const packs = defineList("Pack", "packs", {
  ref: Pack,
  where: {
    id: byOwnId("Pack", "The pack itself."),
    ref: byText("ref", "Its ref."),
    label: byText("label", "Its label."),
    description: byText("description", "Its description."),
    version: byText("version", "Its version."),
    text: byWords(["ref", "label", "description"], ["tags"]),
    tags: byAnyOf("tags", "One of its tags."),
    isStandard: byFlag("isStandard", "Whether it is part of Attune."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", label: "Its label.", created: "When it was created.", updated: "When it last changed." },
  defaultOrder: ["ref", "asc"],
});

addRootFields({ table: "packs", name: "Pack", one: "pack", many: "packs", ref: Pack, list: packs, hasRef: true });
