import { sql } from "drizzle-orm";
import { everyGrant, type Grant } from "../../../src/access/grants.ts";
import { rows } from "../../../src/db/client.ts";
import { runtimeQueue } from "../../../src/db/jobs.ts";
import { createWorld, type World } from "../../support/world.ts";
import { factsOf, specs } from "./facts.ts";
import { allows, type Facts, type Role, rolesOf } from "./roles.ts";
import { type Seeds, sow } from "./seeds.ts";
import { type Answer, createServer, roles as myRoles, type Server } from "./server.ts";

/** A database with rows of the caller and of others, the API over it, and the roles that call it. */
export interface Matrix extends AsyncDisposable {
  world: World;
  server: Server;
  seeds: Seeds;
  /** One role for each set of the core pack and for each constraint, all with the same identity. */
  roles: Role[];
  /** A role with every grant. */
  admin: Role;
  /** The facts of every row, by type and id. */
  facts: ReadonlyMap<string, ReadonlyMap<string, Facts>>;
  /** Whether the role may read the object. */
  reads(role: Role, typename: string, id: string): boolean;
}

export async function createMatrix(): Promise<Matrix> {
  const world = await createWorld();
  const { services } = world;
  const seeds = await sow(services);
  const runtimes = await rows<{ ref: string }>(services.db, sql`select ref from attune.runtime`);
  for (const { ref } of runtimes) await services.jobs.open(runtimeQueue(ref));
  const server = await createServer(services);
  const facts = new Map<string, Map<string, Facts>>();
  for (const typename of Object.keys(specs)) {
    const found = await factsOf(services.db, typename, seeds.me, myRoles);
    facts.set(typename, new Map(found.map((row) => [row.id, row])));
  }
  const refsOf = (ids: ReadonlyMap<string, string>) =>
    Object.entries(specs).flatMap(([typename, { table }]) => facts.get(typename)?.get(ids.get(table) ?? "")?.ref ?? []);
  const core = await rows<{ ref: string; grants: Grant[] }>(
    services.db,
    sql`select ref, grants from attune.permission_set where ref like 'core.%' order by ref`,
  );
  return {
    world,
    server,
    seeds,
    facts,
    roles: rolesOf(new Map(core.map(({ ref, grants }) => [ref, grants])), seeds.me, {
      own: refsOf(seeds.own),
      others: refsOf(seeds.others),
    }),
    admin: { name: "everything", identity: seeds.me, grants: everyGrant },
    reads: (role, typename, id) => {
      const fact = facts.get(typename)?.get(id);
      const resource = specs[typename]?.resource;
      if (!fact || !resource) throw new Error(`${typename} ${id} has no facts`);
      return allows(role, resource, "read", fact);
    },
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

export const globalId = (typename: string, id: string) => btoa(`${typename}:${id}`);

/** Returns the type and the number in a global id. */
export function localId(id: string): [typename: string, id: string] {
  const [typename = "", number = ""] = atob(id).split(":");
  return [typename, number];
}

export const codes = ({ errors }: Answer) => errors?.map(({ extensions }) => extensions.code);
