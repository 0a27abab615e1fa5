import { readFileSync } from "node:fs";
import { buildSchema, parse, validate } from "graphql";
import { describe, expect, test } from "vitest";
import { listDocument, showDocument, watchDocument } from "../../src/cli/commands/resource.ts";
import { resources } from "../../src/cli/resources.ts";

const schema = buildSchema(readFileSync("schema.graphql", "utf8"));

describe("what the command line asks is in the schema", () => {
  test.each(resources)("$name", (resource) => {
    const documents = [
      listDocument(resource),
      showDocument(resource, `${resource.fields} ${resource.detail}`),
      ...(resource.watch ? [watchDocument(resource)] : []),
    ];
    for (const document of documents) expect(validate(schema, parse(document)).map(String)).toEqual([]);
    const where = schema.getType(`${resource.type}Where`);
    const fields = where && "getFields" in where ? Object.keys(where.getFields()) : [];
    for (const filter of resource.filters) {
      const value = filter.flags.includes("<time>") ? "1h" : "yes";
      expect(fields).toEqual(expect.arrayContaining(Object.keys(filter.where(value))));
    }
  });

  test("watches have only filters of their lists, which their subscriptions have too", () => {
    for (const { filters, watch } of resources) {
      if (!watch) continue;
      const type = schema.getType(`${watch.subscription.charAt(0).toUpperCase()}${watch.subscription.slice(1)}Where`);
      const fields = type && "getFields" in type ? Object.keys(type.getFields()) : [];
      for (const flags of watch.filters) {
        const filter = filters.find((one) => one.flags === flags);
        expect(Object.keys(filter?.where("yes") ?? { [flags]: 1 }).filter((field) => !fields.includes(field))).toEqual(
          [],
        );
      }
    }
  });
});
