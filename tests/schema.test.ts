import { readFileSync } from "node:fs";
import {
  type GraphQLNamedType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isListType,
  isNullableType,
  isObjectType,
  isScalarType,
  isUnionType,
  lexicographicSortSchema,
  printSchema,
} from "graphql";
import { describe, expect, test } from "vitest";
import { schema } from "../src/graphql/schema.ts";

const printed = `${printSchema(lexicographicSortSchema(schema))}\n`;
const types = Object.values(schema.getTypeMap()).filter((type) => !isIntrospectionType(type));
const builtIn = new Set(["String", "Int", "Float", "Boolean", "ID"]);

/** Yields the coordinate and description of everything that can have one. */
function* describable(type: GraphQLNamedType): Generator<[string, string | null | undefined]> {
  yield [type.name, type.description];
  if (isEnumType(type)) {
    for (const value of type.getValues()) yield [`${type.name}.${value.name}`, value.description];
  }
  if (isInputObjectType(type)) {
    for (const field of Object.values(type.getFields())) yield [`${type.name}.${field.name}`, field.description];
  }
  if (isObjectType(type) || isInterfaceType(type)) {
    for (const field of Object.values(type.getFields())) {
      yield [`${type.name}.${field.name}`, field.description];
      for (const arg of field.args) yield [`${type.name}.${field.name}(${arg.name}:)`, arg.description];
    }
  }
}

const upperFirst = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function fieldsOf(type: GraphQLNamedType) {
  return isObjectType(type) ? Object.values(type.getFields()).map((field) => ({ type, field })) : [];
}

describe("the schema", () => {
  test("is the one printed in schema.graphql", async () => {
    await expect(printed).toMatchFileSnapshot("../schema.graphql");
  });

  test("has the possible types and the scalars that docs/clients says", async () => {
    const abstract = types.filter((type) => isInterfaceType(type) || isUnionType(type));
    const possible = abstract.map((type) => [
      type.name,
      schema
        .getPossibleTypes(type)
        .map(({ name }) => name)
        .sort(),
    ]);
    const sorted = Object.fromEntries(possible.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)));
    await expect(`${JSON.stringify(sorted, null, 2)}\n`).toMatchFileSnapshot("../docs/clients/possible-types.json");
    const scalars = types.filter((type) => isScalarType(type) && !builtIn.has(type.name)).map(({ name }) => name);
    const documented = JSON.parse(readFileSync("docs/clients/scalars.json", "utf8"));
    expect(Object.keys(documented)).toEqual(scalars.sort());
  });

  test("describes every type, field, argument and enum value", () => {
    const described = types.filter(({ name }) => !builtIn.has(name)).flatMap((type) => [...describable(type)]);
    expect(described.length).toBeGreaterThan(500);
    expect(described.filter(([, description]) => !description?.trim()).map(([coordinate]) => coordinate)).toEqual([]);
  });

  test("has no field that shows a secret", () => {
    const secret = /hash|password|webhook_?config|webhook_?key|^token|secret|env_?vars|^value$/i;
    const shown = types.flatMap(fieldsOf).filter(({ field }) => secret.test(field.name));
    // Values that are shown once, on purpose; and names that only mention secrets.
    expect(shown.map(({ type, field }) => `${type.name}.${field.name}`).sort()).toEqual([
      "CreateApiTokenPayload.value",
      "EncryptionRotation.secrets",
      "Mutation.rotateWebhookKey",
      "Mutation.setPassword",
      "RevealedKey.value",
      "Webhook.previousSecretUntil",
    ]);
  });

  test("pages every list of objects", () => {
    const unpaged = types
      .flatMap(fieldsOf)
      .filter(({ field }) => {
        const type = isNullableType(field.type) ? field.type : field.type.ofType;
        if (!isListType(type)) return false;
        const item = isNullableType(type.ofType) ? type.ofType : type.ofType.ofType;
        return isObjectType(item) || isInterfaceType(item);
      })
      .map(({ type, field }) => `${type.name}.${field.name}`)
      .filter((name) => !/^\w+Connection\.(edges|nodes)$/.test(name))
      .filter((name) => !/^Query\.\w+Messages$/.test(name)); // bounded by `first`, see below
    // Bounded by the depth of a tree, by the ids given, by the refused input, by the runtimes, by the executions of one call, by the rules of retention, by the criteria, the fields and the hours of a rule, by what is read of the results of tests, by the argument `first`, by a setting.
    expect(unpaged.sort()).toEqual([
      "ActiveHours.spans",
      "CancelExecutionsPayload.refused",
      "Execution.ancestors",
      "InvalidInputError.issues",
      "Pack.releases",
      "Pack.testSummaries",
      "PackSearch.indexes",
      "PackSearch.packs",
      "PackTestExecution.suites",
      "PurgePayload.purged",
      "Query.lintRule",
      "Query.nodes",
      "Query.queueStats",
      "Query.retention",
      "RetryExecutionsPayload.refused",
      "Rule.warnings",
      "RuleBacktestMessage.differences",
      "RuleExplanation.criteria",
      "RuleRevision.changes",
      "RuleTest.criteria",
      "TestSuiteResult.testCases",
    ]);
  });

  test("names the messages, the filter and the polling query of every subscription after it", () => {
    const queries = schema.getQueryType()?.getFields() ?? {};
    const subscriptions = Object.values(schema.getSubscriptionType()?.getFields() ?? {});
    expect(subscriptions.length).toBeGreaterThan(7);
    const argsOf = (field: { args: readonly { name: string; type: unknown }[] }) =>
      Object.fromEntries(field.args.map((arg) => [arg.name, String(arg.type)]));
    for (const { name, type, args } of subscriptions) {
      const upper = upperFirst(name);
      expect(String(type)).toBe(`${upper}Message`);
      const { where = `${upper}Where` } = argsOf({ args });
      expect(where).toBe(`${upper}Where`);
      const query = queries[`${name}Messages`];
      expect(String(query?.type), `the polling query of ${name}`).toBe(`[${upper}Message!]`);
      expect(argsOf(query ?? { args: [] })).toEqual({ ...argsOf({ args }), first: "Int" });
    }
    const names = subscriptions.map(({ name }) => name).sort();
    // Nothing else is named like a part of a stream, and every message belongs to one.
    const polled = Object.keys(queries).filter((name) => name.endsWith("Messages"));
    expect(polled.sort()).toEqual(names.map((name) => `${name}Messages`));
    const messages = names.map((name) => `${upperFirst(name)}Message`).sort();
    const isMessage = (type: GraphQLNamedType) =>
      isObjectType(type) && type.getInterfaces().some((each) => each.name === "LiveMessage");
    expect(
      types
        .filter(isMessage)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(messages);
    const called = types.filter(({ name }) => name.endsWith("Message") && name !== "LiveMessage");
    expect(called.map(({ name }) => name).sort()).toEqual(messages);
    // Each is named after what happened to an entity, or else after what it follows.
    const entities = types.filter(
      (type) => isObjectType(type) && type.getInterfaces().some(({ name }) => name === "Node"),
    );
    const happened = names.filter((name) => /(Created|Changed)$/.test(name));
    expect(names.filter((name) => !happened.includes(name))).toEqual([
      "executionLog",
      "executionStatus",
      "packInstallProgress",
      "packTestProgress",
      "ruleBacktest",
      "sensorLog",
    ]);
    for (const name of happened) {
      const entity = upperFirst(name.replace(/s?(Created|Changed)$/, ""));
      expect(entities.map((type) => type.name)).toContain(entity);
    }
  });

  test("lets every root field be null, so that one refusal does not affect the others", () => {
    const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
    const fields = roots.flatMap((root) => (root ? fieldsOf(root) : []));
    expect(fields.length).toBeGreaterThan(40);
    expect(fields.filter(({ field }) => !isNullableType(field.type)).map(({ field }) => field.name)).toEqual([]);
  });

  test("gives every mutation a result that holds its payload or one of the refusals", () => {
    const mutations = Object.values(schema.getMutationType()?.getFields() ?? {});
    expect(mutations.length).toBeGreaterThan(70);
    for (const { name, type, args } of mutations) {
      const upper = upperFirst(name);
      expect(String(type)).toBe(`${upper}Result`);
      const bare = name === "rotateEncryptionKey"; // it concerns all secrets
      const declared = args.map((arg) => `${arg.name}: ${arg.type}`);
      expect([name, ...declared]).toEqual([name, ...(bare ? [] : [`input: ${upper}Input!`])]);
      expect(printed).toMatch(new RegExp(`union ${upper}Result =[^}]*\\b${upper}Payload\\b`));
    }
    const refusals = types.filter(
      (type) => isObjectType(type) && type.getInterfaces().some((each) => each.name === "Error"),
    );
    expect(refusals.map(({ name }) => name).sort()).toEqual([
      "ConflictError",
      "ForbiddenError",
      "InvalidInputError",
      "NotFoundError",
      "RateLimitedError",
      "UnauthenticatedError",
    ]);
  });
});
