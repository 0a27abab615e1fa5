import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decidedByVerbs } from "./matrix/mutations.ts";
import type { Facts, Role } from "./matrix/roles.ts";
import { createMatrix, type Matrix } from "./matrix/setup.ts";
import { type Side, type Verb, verbs } from "./matrix/verbs.ts";

let matrix: Matrix;
beforeAll(async () => {
  matrix = await createMatrix();
});
afterAll(() => matrix[Symbol.asyncDispose]());

/** The mutation's result: `done`, or its refusal. */
async function attempt(role: Role, { name }: Verb, input: object): Promise<string> {
  const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input`;
  const response = await matrix.server.ask(
    role,
    `mutation($input: ${type}!) { ${name}(input: $input) { __typename ... on Error { message } } }`,
    { input },
  );
  if (response.errors) return response.errors.map(({ extensions, message }) => `${extensions.code}: ${message}`).join();
  const { __typename, message } = response.data[name];
  return __typename.endsWith("Payload") ? "done" : `${__typename}: ${message}`;
}

/** A hash of the table's rows; of the audit trail only reveals, because it also records refusals. */
async function contents({ table }: Verb): Promise<string> {
  const where = table === "audit_event" ? sql` where category = 'reveal' and outcome = 'success'` : sql``;
  const { md5 } = await matrix.world.one<{ md5: string }>(
    sql`select coalesce(md5(string_agg(t::text, ',' order by id)), '') as md5 from ${sql.raw(`attune.${table} t`)}${where}`,
  );
  return md5;
}

/** The role with the row's ref added to its constraints. */
function withRef(role: Role, side: Side, { ref }: Facts): Role {
  if (ref === null) return role;
  const more = (refs: string[] | undefined) => refs && [...refs, ref];
  const grants = role.grants.map(({ constraints = {}, ...grant }) => ({
    ...grant,
    constraints: {
      ...constraints,
      refs: side === "own" ? more(constraints.refs) : constraints.refs,
      except_refs:
        side === "others" && role.name === "except_refs" ? more(constraints.except_refs) : constraints.except_refs,
    },
  }));
  return { ...role, grants };
}

describe("a mutation whose verb checks the grants", () => {
  test("is tested here", () => {
    const tested = new Set(verbs.map(({ name }) => name));
    expect([...tested, "signOut"].sort()).toEqual([...decidedByVerbs].sort());
  });

  test.each(verbs.map((verb) => [verb.name, verb.on, verb] as const))(
    "%s on %s succeeds exactly for the roles that may",
    async (_name, _on, verb) => {
      const counts = { succeeded: 0, refused: 0 };
      for (const side of ["own", "others"] as const) {
        for (const each of matrix.roles) {
          const { input, facts } = await verb.prepare(matrix, side);
          const role = withRef(each, side, facts);
          const before = await contents(verb);
          const result = await attempt(role, verb, input);
          const place = `${role.name}: ${verb.name} on ${verb.on} (${side}): ${result}`;
          const changed = (await contents(verb)) !== before;
          if (verb.may(role, facts)) {
            expect(result, place).toBe("done");
            counts.succeeded += 1;
            continue;
          }
          counts.refused += 1;
          expect(changed, place).toBe(false);
          const canRead = verb.canRead(role, facts, matrix);
          expect(result, place).toMatch(canRead ? /^(ForbiddenError|FORBIDDEN)\b/ : /^NotFoundError: There is no /);
        }
      }
      expect(counts.succeeded).toBeGreaterThan(1);
      expect(counts.refused).toBeGreaterThan(1);
    },
  );
});
