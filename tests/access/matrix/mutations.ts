import { getNamedType, isInputObjectType, isRequiredInputField } from "graphql";
import type { Row } from "../../db/model/sample.ts";
import { type RootField, rootFields } from "./fields.ts";

/** A mutation of something that is there already: of which type, and by which field of its input. */
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

/** By what an input says which one is meant, the most telling first. */
const naming = ["permissionSet", "trigger", "action", "ref", "id", "login"];

/** What else an input takes. */
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

/** Rows that may be changed: made by people, not by the files of a pack. */
const byPeople: Readonly<Record<string, Row>> = {
  action: { is_adhoc: true },
  trigger: { is_adhoc: true },
  sensor: { is_adhoc: true },
  rule: { is_adhoc: true },
  runtime: { pack: null },
  permission_set: { pack: null, pack_ref: null },
  enforcement: { event: null },
};
const targetsOf: Readonly<Record<string, Row>> = {
  appendArtifactProgress: { type: "progress" },
  rotateWebhookKey: { webhook_enabled: true, webhook_key: "webhook{n}" },
  deleteExecution: { status: "failed", finished_at: "2026-02-03T04:05:06.789Z" },
};

/** What is taken besides the grant for the target: for oneself, whom the input names, or without any constraint. */
export const alsoTaken: Readonly<Record<string, { ofMyself?: string; wholly?: string }>> = {
  assignPermissionSet: { ofMyself: "identity:update" },
  unassignPermissionSet: { ofMyself: "identity:update" },
  assignRole: { wholly: "inquiry:respond" },
};

/** What a row takes for the mutation of it to be possible. */
export const targetFor = (mutation: string, table: string): Row => ({ ...byPeople[table], ...targetsOf[mutation] });

/** What is made, besides its ref: of which type, and what else the input takes. */
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

/** Mutations that are about nothing that has a ref: their own tests try who may. */
const others: ReadonlySet<string> = new Set(["createEvent", "rotateEncryptionKey"]);

/** Those that whoever is signed in may use, for what is one's own: their verbs decide, as tests/access/matrix-verbs.test.ts tries. */
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

/** The mutations that take a grant to make something. */
export const creations = (): string[] =>
  rootFields().flatMap(({ name, may }) => (may?.endsWith(":create") && !others.has(name) ? [name] : []));

/** The mutations that take a grant, as far as they are about something that is there. */
export function targeted(): Targeted[] {
  return rootFields().flatMap((each) => {
    if (each.root !== "mutation" || !each.may || others.has(each.name)) return [];
    const [resource = "", action = ""] = each.may.split(":");
    if (action === "create") return [];
    const by = naming.find((name) => fieldsOf(each).includes(name));
    const typename = typenames[resource];
    if (!by || !typename) throw new Error(`${each.name}: what is it about? Say it in tests/access/matrix/mutations.ts`);
    return [{ name: each.name, may: each.may, typename, by }];
  });
}

/** The fields that its input must have. */
function fieldsOf({ field }: RootField): string[] {
  const type = field.args[0] && getNamedType(field.args[0].type);
  if (!isInputObjectType(type)) return [];
  return Object.values(type.getFields())
    .filter(isRequiredInputField)
    .map(({ name }) => name);
}
