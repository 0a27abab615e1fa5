import { randomUUID } from "node:crypto";
import { sql } from "drizzle-orm";
import type { Grant } from "../../src/access/grants.ts";
import type { Session } from "../../src/access/session.ts";
import { findSession, hashOf } from "../../src/access/sessions.ts";
import type { World } from "../support/world.ts";

/** An identity with an API token. */
export interface Person {
  login: string;
  id: string;
  token: string;
  /** Returns the current session. */
  session(): Promise<Session>;
}

/** Creates a permission set and returns its ref. */
export async function permissionSet(world: World, grants: Grant[]): Promise<string> {
  const ref = `default.set-${randomUUID().slice(0, 8)}`;
  await world.all(
    sql`insert into attune.permission_set (ref, grants) values (${ref}, ${JSON.stringify(grants)}::text::jsonb)`,
  );
  return ref;
}

/** Creates an identity with these roles and grants. */
export async function person(
  world: World,
  { roles = [], grants = [] }: { roles?: string[]; grants?: Grant[] } = {},
): Promise<Person> {
  const login = `p-${randomUUID().slice(0, 8)}`;
  const { id } = await world.one<{ id: string }>(
    sql`insert into attune.identity (login) values (${login}) returning id::text`,
  );
  for (const role of roles) {
    await world.all(sql`insert into attune.identity_role (identity, role) values (${id}::bigint, ${role})`);
  }
  await world.all(
    sql`insert into attune.permission_assignment (identity, permission_set)
      select ${id}::bigint, s.id from attune.permission_set s where s.ref = ${await permissionSet(world, grants)}`,
  );
  const token = `att_api_${randomUUID()}`;
  await world.all(
    sql`insert into attune.token (kind, token_hash, identity) values ('api', ${hashOf(token)}, ${id}::bigint)`,
  );
  return { login, id, token, session: () => sessionOf(world, token) };
}

/** Returns the session of a credential; throws when it is not valid. */
export async function sessionOf(world: World, token: string): Promise<Session> {
  const session = await findSession(world.services.db, token);
  if (!session) throw new Error("the token is not valid");
  return session;
}
