import { getNamedType, isInputObjectType, isRequiredInputField } from "graphql";
import type { Row } from "../../db/model/sample.ts";
import { type RootField, rootFields } from "./fields.ts";

/** A mutation of an existing row: the row's type, and the input field that names the row. */
export interface Targeted {
  name: string;
  may: string;
  typename: string;
  by: string;
}

const typenames: Readonly<Record<string, string>> = {
  pack: "Pack",
  runtime: "Runtime",
  action: "Action",
  trigger: "Trigger",
  sensor: "Sensor",
  rule: "Rule",
  policy: "Policy",
  workflow_definition: "WorkflowDefinition",
  permission_set: "PermissionSet",
  event: "Event",
  enforcement: "Enforcement",
  execution: "Execution",
  inquiry: "Inquiry",
  identity: "Identity",
  token: "ApiToken",
  key: "Key",
  artifact: "Artifact",
  worker: "Worker",
};

/** The input fields that name the row, the most specific first. */
const naming = ["permissionSet", "trigger", "action", "ref", "id", "login"];

/** Further fields of an input. */
export const inputs: Readonly<Record<string, Row>> = {
  addPermissionSetToRole: { role: "some_role" },
  removePermissionSetFromRole: { role: "some_role" },
  assignPermissionSet: { login: "me" },
  unassignPermissionSet: { login: "me" },
  assignRole: { role: "some_role" },
  unassignRole: { role: "some_role" },
  appendArtifactProgress: { percent: 50 },
  executeAction: { parameters: {} },
};

/** Values of rows that may be changed: created through the API, not from the files of a pack. */
const byUsers: Readonly<Record<string, Row>> = {
  action: { is_adhoc: true },
  trigger: { is_adhoc: true },
  sensor: { is_adhoc: true },
  rule: { is_adhoc: true },
  runtime: { pack: null },
  permission_set: { is_adhoc: true },
  enforcement: { event: null },
};
const targetsOf: Readonly<Record<string, Row>> = {
  appendArtifactProgress: { type: "progress" },
  rotateWebhookKey: { webhook_enabled: true, webhook_key: "webhook{n}" },
  deleteExecution: { status: "failed", finished_at: "2026-02-03T04:05:06.789Z" },
};

/** Grants required besides the one for the target: for the caller, whom the input names, or without any constraint. */
export const alsoRequired: Readonly<Record<string, { ofMyself?: string; wholly?: string }>> = {
  assignPermissionSet: { ofMyself: "identity:update" },
  unassignPermissionSet: { ofMyself: "identity:update" },
  assignRole: { wholly: "inquiry:respond" },
};

/** The values that a row needs for the mutation to be possible. */
export const targetFor = (mutation: string, table: string): Row => ({ ...byUsers[table], ...targetsOf[mutation] });

/** The type that each mutation creates, and the fields of its input besides the ref. */
export const creating: Readonly<Record<string, { typename: string; input: Row }>> = {
  createAction: { typename: "Action", input: { entrypoint: "core.noop", runtime: "core.action.builtin" } },
  createArtifact: { typename: "Artifact", input: { type: "FILE_TEXT" } },
  createIdentity: { typename: "Identity", input: {} },
  createPack: { typename: "Pack", input: {} },
  createPermissionSet: { typename: "PermissionSet", input: {} },
  createPolicy: { typename: "Policy", input: { rateMax: 1, rateWindowSeconds: 60 } },
  createRule: { typename: "Rule", input: { action: "core.noop", trigger: "core.webhook" } },
  createRuntime: { typename: "Runtime", input: {} },
  createSensor: { typename: "Sensor", input: { entrypoint: "watch.sh", runtime: "core.sensor.shell" } },
  createTrigger: { typename: "Trigger", input: {} },
  createWorkflowDefinition: {
    typename: "WorkflowDefinition",
    input: { definition: { version: "1.0.0", tasks: [{ name: "one", action: "core.noop" }] } },
  },
};

/** Mutations of rows without a ref, of many rows, or that require grants on two rows: their own tests cover who may use them. */
const others: ReadonlySet<string> = new Set([
  ...[
    "cancelExecutions",
    "createEvent",
    "deletePackTestRuns",
    "installPack",
    "purge",
    "rebuildEnvironment",
    "reloadPack",
    "rerunExecution",
    "resetRule",
    "restoreRule",
    "retryExecutions",
    "rotateEncryptionKey",
    "testPack",
  ],
]);

/** Mutations that every signed-in user may use on their own rows: their verbs check, as tests/access/matrix-verbs.test.ts covers. */
export const decidedByVerbs: readonly string[] = [
  "cancelInquiry",
  "createApiToken",
  "createArtifactUpload",
  "createInquiry",
  "deleteKey",
  "respondToInquiry",
  "revealKey",
  "revokeApiToken",
  "setKey",
  "setPassword",
  "signOut",
];

/** The mutations that require a grant to create a row. */
export const creations = (): string[] =>
  rootFields().flatMap(({ name, may }) => (may?.endsWith(":create") && !others.has(name) ? [name] : []));

/** The mutations that require a grant on an existing row. */
export function targeted(): Targeted[] {
  return rootFields().flatMap((each) => {
    if (each.root !== "mutation" || !each.may || others.has(each.name)) return [];
    const [resource = "", action = ""] = each.may.split(":");
    if (action === "create") return [];
    const by = naming.find((name) => fieldsOf(each).includes(name));
    const typename = typenames[resource];
    if (!by || !typename)
      throw new Error(`${each.name}: its target is unknown: add it to tests/access/matrix/mutations.ts`);
    return [{ name: each.name, may: each.may, typename, by }];
  });
}

/** The required fields of its input. */
function fieldsOf({ field }: RootField): string[] {
  const type = field.args[0] && getNamedType(field.args[0].type);
  if (!isInputObjectType(type)) return [];
  return Object.values(type.getFields())
    .filter(isRequiredInputField)
    .map(({ name }) => name);
}
