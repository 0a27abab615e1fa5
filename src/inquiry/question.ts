import { z } from "zod";
import { InvalidInputError, type Issue, invalid } from "../errors.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { checkInput } from "../schema/input.ts";
import { compileParameters, type ParameterMap, parameterMap } from "../schema/schema.ts";
import { storableJson } from "../schema/storable.ts";

/** A question and its assignees, unchecked. */
export interface QuestionInput {
  prompt: string;
  responseSchema?: JsonObject | null;
  /** A login. */
  assignedTo?: string | null;
  assignedRole?: string | null;
  timeoutSeconds?: number | null;
  /** Null for none. */
  defaultResponse?: Json;
}

/** A checked question. */
export interface Question {
  prompt: string;
  responseSchema: ParameterMap | null;
  assignedTo: string | null;
  assignedRole: string | null;
  timeoutSeconds: number | null;
  defaultResponse: Json;
}

/** Returns the caller's name of an input field, for the paths of issues. */
export type Naming = (field: keyof QuestionInput) => string;

const longestWait = 30 * 24 * 3600;
const maxSchemaBytes = 64 * 1024;
const maxResponseBytes = 256 * 1024;

const fields = {
  prompt: z
    .string()
    .max(4000)
    .refine((text) => text.trim() !== "", "must not be blank"),
  assignedTo: z.string().min(1).max(200).nullable(),
  assignedRole: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,62}$/, "must be the name of a role: lower case letters, digits, _ or -")
    .nullable(),
  timeoutSeconds: z.int().min(1).max(longestWait).nullable(),
};

/** Returns the checked question: its schema compiles and its default response fits. Throws InvalidInputError. */
export function checkQuestion(input: QuestionInput, at: Naming): Question {
  const prompt = checkInput(fields.prompt, input.prompt, at("prompt"));
  storableJson(prompt, at("prompt"));
  const responseSchema = input.responseSchema ? checkSchema(input.responseSchema, at("responseSchema")) : null;
  const timeoutSeconds = checkInput(fields.timeoutSeconds, input.timeoutSeconds ?? null, at("timeoutSeconds"));
  const given = input.defaultResponse ?? null;
  if (given !== null && timeoutSeconds === null) {
    throw invalid(at("defaultResponse"), `is used when the inquiry expires: it needs ${at("timeoutSeconds")}`);
  }
  return {
    prompt,
    responseSchema,
    assignedTo: checkInput(fields.assignedTo, input.assignedTo ?? null, at("assignedTo")),
    assignedRole: checkInput(fields.assignedRole, input.assignedRole ?? null, at("assignedRole")),
    timeoutSeconds,
    defaultResponse: given === null ? null : checkResponse(responseSchema, given, at("defaultResponse")),
  };
}

/** Returns the response with the schema's defaults filled in. Throws InvalidInputError when it violates the schema or cannot be stored. */
export function checkResponse(schema: ParameterMap | null, response: Json, path: string): Json {
  storableJson(response, path, maxResponseBytes);
  if (schema === null) return response;
  if (typeof response !== "object" || response === null || Array.isArray(response)) {
    throw invalid(path, "must be an object");
  }
  return compileParameters(schema)(response, path);
}

function checkSchema(given: JsonObject, path: string): ParameterMap {
  storableJson(given, path, maxSchemaBytes);
  const schema = checkInput(parameterMap, given, path);
  const secrets = findSecrets(schema, path);
  if (secrets.length > 0) throw new InvalidInputError(secrets);
  return schema;
}

function findSecrets(map: ParameterMap, path: string): Issue[] {
  return Object.entries(map).flatMap(([name, parameter]) => [
    ...(parameter.secret
      ? [{ path: `${path}.${name}.secret`, message: "responses are stored unencrypted: they cannot be secret" }]
      : []),
    ...findSecrets(parameter.properties ?? {}, `${path}.${name}.properties`),
    ...(parameter.items ? findSecrets({ items: parameter.items }, `${path}.${name}`) : []),
  ]);
}
