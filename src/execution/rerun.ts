import { sql } from "drizzle-orm";
import { findRow } from "../access/rows.ts";
import { identityOf, type Session } from "../access/session.ts";
import type { RetryPolicy } from "../catalog/retry.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkParameters, type RunnableAction } from "./action.ts";
import { concealParameters, findRunnable, parentOf, requestExecutions } from "./execute.ts";
import { openSecrets, type StoredSecret } from "./secret.ts";
import { isTerminal } from "./states.ts";

/** The execution to run again, and the parameters to use instead of its own. */
export interface RerunInput {
  id: bigint;
  parameters: JsonObject | null;
}

/**
 * Creates an execution of the action of one that has ended, as the action is now, with the same parameters, secrets, time-out, retries and
 * priority; it refers to the first one. Throws NotFoundError, ForbiddenError (also when the session may not execute the action),
 * ConflictError (it has not ended; the action is disabled), InvalidInputError (the parameters do not fit the action).
 */
export async function rerunExecution(tx: Tx, session: Session, input: RerunInput): Promise<{ id: bigint }> {
  const first = await findRow(tx.db, session, { of: "execution", doing: "read", which: { id: input.id } });
  const action = await findRunnable(tx, session, first.actionRef);
  if (!isTerminal(first.status)) throw new ConflictError(`The execution has not ended (${first.status}).`);
  const again = input.parameters === null;
  const given = again
    ? await sameParameters(tx, action, { id: first.id, config: first.config ?? {} })
    : await concealParameters(tx, session, action, input.parameters ?? {});
  const [id] = await requestExecutions(tx, [
    {
      action,
      ...given,
      enforcement: null,
      executor: identityOf(session),
      // Who may not read the events of the trigger may not read parameters that are made from them, here either.
      ruleRef: again ? first.ruleRef : null,
      triggerRef: again ? first.triggerRef : null,
      traceTag: first.traceTag,
      generation: first.generation,
      timeoutSeconds: first.timeoutSeconds,
      retry: first.retry as RetryPolicy | null, // checked when it was stored
      priority: first.priority,
      rerunOf: String(first.id),
      parent: await parentOf(tx, session),
    },
  ]);
  return { id: BigInt(id ?? 0) };
}

/** Returns the stored parameters and secrets of an execution. Throws InvalidInputError when the action no longer accepts them. */
async function sameParameters(tx: Tx, action: RunnableAction, { id, config }: { id: bigint; config: JsonObject }) {
  const secrets = await rows<StoredSecret>(
    tx.db,
    sql`select path, source, encrypted from attune.execution_secret where execution = ${id} order by id`,
  );
  checkParameters(action, openSecrets(tx.keyring, config, secrets).config, "parameters");
  return { config, secrets };
}
