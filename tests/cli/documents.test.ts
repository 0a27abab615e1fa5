import { readFileSync } from "node:fs";
import {
  buildSchema,
  type GraphQLInputObjectType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  parse,
  validate,
  validateInputValue,
} from "graphql";
import { describe, expect, test } from "vitest";
import { listDocument, showDocument, watchDocument } from "../../src/cli/commands/resource.ts";
import type { Filter } from "../../src/cli/resource.ts";
import { resources } from "../../src/cli/resources.ts";

const schema = buildSchema(readFileSync("schema.graphql", "utf8"));

function inputType(name: string): GraphQLInputObjectType {
  const type = schema.getType(name);
  if (!isInputObjectType(type)) throw new Error(`the schema has no input ${name}`);
  return type;
}

/** Returns what the API would refuse of a filter's condition, with a value that the filter is for. */
function faultsOf(filter: Filter, type: GraphQLInputObjectType): string[] {
  const [field = ""] = Object.keys(filter.where("1h"));
  const operators = getNamedType(type.getFields()[field]?.type);
  const value = isInputObjectType(operators) ? getNamedType(operators.getFields()["in"]?.type) : undefined;
  const choice = isEnumType(value) ? value.getValues()[0]?.name.toLowerCase() : undefined;
  const faults: string[] = [];
  validateInputValue(filter.where(choice ?? "1h"), type, ({ message }) => faults.push(`${filter.flags}: ${message}`));
  return faults;
}

describe("what the command line asks is in the schema", () => {
  test.each(resources)("$name", (resource) => {
    const { type, filters, watch, fields, detail } = resource;
    const documents = [
      listDocument(resource),
      showDocument(resource, `${fields} ${detail}`),
      ...(watch ? [watchDocument(resource)] : []),
    ];
    for (const document of documents) expect(validate(schema, parse(document)).map(String)).toEqual([]);
    expect(filters.flatMap((filter) => faultsOf(filter, inputType(`${type}Where`)))).toEqual([]);
    if (!watch) return;
    const messages = inputType(`${watch.subscription.charAt(0).toUpperCase()}${watch.subscription.slice(1)}Where`);
    const watched = filters.filter(({ flags }) => watch.filters.includes(flags));
    expect(watched).toHaveLength(watch.filters.length);
    expect(watched.flatMap((filter) => faultsOf(filter, messages))).toEqual([]);
  });
});
