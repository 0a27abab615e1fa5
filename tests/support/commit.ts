import { prepareSetPassword, setPassword } from "../../src/access/credential.ts";
import { createIdentity, prepareIdentity } from "../../src/access/identity.ts";
import type { Session } from "../../src/access/session.ts";
import type { Services } from "../../src/db/services.ts";
import { type Tx, write } from "../../src/db/tx.ts";

/** Runs a verb in its own transaction, as its mutation does. */
export function commit<I, R>(
  services: Services,
  verb: (tx: Tx, session: Session, input: I) => Promise<R>,
  session: Session,
  input: I,
): Promise<R> {
  return write(services, (tx) => verb(tx, session, input));
}

/** Creates an identity, as the mutation does. */
export async function commitIdentity(
  services: Services,
  session: Session,
  input: Parameters<typeof prepareIdentity>[1],
): Promise<{ id: bigint }> {
  return await commit(services, createIdentity, session, await prepareIdentity(session, input));
}

/** Sets a password, as the mutation does. */
export async function commitPassword(
  services: Services,
  session: Session,
  input: Parameters<typeof prepareSetPassword>[2],
): Promise<{ id: bigint }> {
  return await commit(services, setPassword, session, await prepareSetPassword(services.db, session, input));
}
