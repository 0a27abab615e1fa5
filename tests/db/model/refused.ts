import { expect } from "vitest";
import type { Db } from "../../../src/db/client.ts";
import type { Services } from "../../../src/db/services.ts";
import { ConflictError, InvalidInputError, type Refusal } from "../../../src/errors.ts";
import { undone } from "./rows.ts";

export const camel = (name: string) => name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
export const words = (table: string) => table.replaceAll("_", " ");

/** Text of the database, which no message for users may contain. */
const driverText =
  /violates|constraint|relation|null value|duplicate|Key \(|_check|_f?key\b|_idx|attune\.|insert |update /i;

/** Runs work that violates a constraint and checks how it is refused. */
export interface Refused {
  /** Returns the refusal of work that violates exactly that constraint (`table.column` for a null that is not allowed). */
  refusal(name: string, work: (db: Db) => Promise<unknown>): Promise<Refusal>;
  /** The same for invalid input: returns the message at the path. */
  invalid(name: string, path: string, work: (db: Db) => Promise<unknown>): Promise<string>;
  /** The same for a conflict: returns the message, which names the entity. */
  conflict(name: string, entity: string, work: (db: Db) => Promise<unknown>): Promise<string>;
}

interface Driver {
  cause?: { cause?: { [field: string]: string | undefined } };
}

export function createRefused(services: Services): Refused {
  async function refusal(name: string, work: (db: Db) => Promise<unknown>): Promise<Refusal> {
    const error: unknown = await undone(services, work).then(
      () => "nothing was refused",
      (refused: unknown) => refused,
    );
    expect(error, name).toSatisfy((e) => e instanceof InvalidInputError || e instanceof ConflictError);
    const refused = error as Refusal & Driver;
    const { constraint_name, constraint, table_name, table, column_name, column } = refused.cause?.cause ?? {};
    expect(constraint_name ?? constraint ?? `${table_name ?? table}.${column_name ?? column}`, name).toBe(name);
    expect(refused.message, name).not.toMatch(driverText);
    return refused;
  }
  return {
    refusal,
    invalid: async (name, path, work) => {
      const refused = await refusal(name, work);
      expect(refused, name).toBeInstanceOf(InvalidInputError);
      const { issues } = refused as InvalidInputError;
      expect(
        issues.map((issue) => issue.path),
        name,
      ).toEqual([path]);
      expect(issues[0]?.message, name).toMatch(/^(must be|must come|must not|is required)/);
      return issues[0]?.message ?? "";
    },
    conflict: async (name, entity, work) => {
      const refused = await refusal(name, work);
      expect(refused, name).toBeInstanceOf(ConflictError);
      expect(refused.message, name).toMatch(new RegExp(`^[A-Z].*\\b${entity}\\b.*\\.$`));
      return refused.message;
    },
  };
}
