import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { createBuild } from "../support/build.ts";
import { createServices, type TestServices } from "../support/database.ts";
import { samples, tableOf } from "./model/rows.ts";

let services: TestServices;
beforeAll(async () => {
  services = await createServices();
});
afterAll(() => services[Symbol.asyncDispose]());

describe("the builder of rows", () => {
  test("creates a row of each table without being given anything, with what the row must refer to", async () => {
    const build = createBuild(services);
    for (const table of Object.keys(samples)) {
      const built = await build(table);
      expect(await rows(services.db, sql`select from ${tableOf(table)} where id = ${built.id}::bigint`)).toHaveLength(
        1,
      );
    }
  });

  test("stores given values, those of SQL, and references instead of the defaults", async () => {
    const build = createBuild(services);
    const runtime = await build("runtime", { ref: "own.action.r" });
    const action = await build(
      "action",
      { ref: "own.a{n}", runtime: runtime.id, label: "Own" },
      { created: "'epoch'" },
    );
    expect(action).toMatchObject({
      ref: expect.stringMatching(/^own\.a\d+$/),
      label: "Own",
      runtime: Number(runtime.id),
      created: expect.stringContaining("1970-01-01"),
    });
  });
});
