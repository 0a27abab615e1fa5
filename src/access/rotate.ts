import { type SQL, sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { StartError } from "../errors.ts";
import { inProgress, statusIn, unstarted } from "../execution/states.ts";
import type { Keyring } from "../secrecy/keyring.ts";
import { authorize } from "./grants.ts";
import type { Session } from "./session.ts";

/** The columns of triggers with encrypted values. */
const webhookSecrets = ["webhook_secret", "webhook_previous_secret", "webhook_verify_token"];
const batchSize = 200;
/** The most batches of one call, because a request must end; the next call continues. */
const maxBatches = 100;

/**
 * Re-encrypts the values of older keys with the current key, in batches of one transaction each, so that the next call continues after
 * an interruption. Returns the numbers of re-encrypted values; `complete` is true when no value of an older key is left. Throws
 * ForbiddenError.
 */
export async function rotateEncryptionKey(
  services: Services,
  session: Session,
): Promise<{ keys: number; secrets: number; settings: number; complete: boolean }> {
  authorize(session, "key", "rotate", {});
  const { keyring } = services;
  const resealed = (value: string) => keyring.seal(keyring.open(value));
  let batches = 0;
  const rewrite = async (
    next: (after: string) => SQL,
    store: (input: string) => SQL,
    reseal: (value: string) => string = resealed,
  ): Promise<number> => {
    let count = 0;
    for (let after = "0"; batches < maxBatches; batches += 1) {
      // A transaction of its own: all batches in one would hold locks on every secret.
      const done = await write(services, async (tx) => {
        // To the database no key changes: only its envelope does.
        await tx.db.execute(sql`select set_config('attune.rotating', 'on', true)`);
        const found = await rows<{ id: string; value: string }>(tx.db, next(after));
        const sealed = found.map(({ id, value }) => ({ id, value: reseal(value) }));
        if (sealed.length > 0) await tx.db.execute(store(JSON.stringify(sealed)));
        return found;
      });
      count += done.length;
      after = done.at(-1)?.id ?? after;
      if (done.length < batchSize) return count;
    }
    return count;
  };
  const keys = await rewrite(
    (after) =>
      sql`select id::text, value from attune.key where id > ${after}::bigint and encryption_key_hash <> ${keyring.id}
        order by id limit ${batchSize}::int for update`,
    (input) =>
      sql`update attune.key k set value = r.value, encryption_key_hash = ${keyring.id}
        from jsonb_to_recordset(${input}::text::jsonb) as r(id bigint, value text) where k.id = r.id`,
  );
  const secrets = await rewrite(
    (after) =>
      sql`select id::text, encrypted as value from attune.execution_secret
        where id > ${after}::bigint and split_part(encrypted, ':', 2) <> ${keyring.id}
        order by id limit ${batchSize}::int for update`,
    (input) =>
      sql`update attune.execution_secret s set encrypted = r.value
        from jsonb_to_recordset(${input}::text::jsonb) as r(id bigint, value text) where s.id = r.id`,
  );
  let settings = 0;
  for (const table of [sql`attune.pack`, sql`attune.sensor`]) {
    settings += await rewrite(
      (after) =>
        sql`select id::text, secrets::text as value from ${table} t where id > ${after}::bigint
            and exists (select from jsonb_each_text(secrets) s where split_part(s.value, ':', 2) <> ${keyring.id})
          order by id limit ${batchSize}::int for update`,
      (input) =>
        sql`update ${table} t set secrets = r.value::jsonb
          from jsonb_to_recordset(${input}::text::jsonb) as r(id bigint, value text) where t.id = r.id`,
      (value) => {
        const sealed: Record<string, string> = JSON.parse(value);
        return JSON.stringify(Object.fromEntries(Object.entries(sealed).map(([path, each]) => [path, resealed(each)])));
      },
    );
  }
  for (const column of webhookSecrets.map((name) => sql.identifier(name))) {
    settings += await rewrite(
      (after) =>
        sql`select id::text, ${column} as value from attune.trigger
          where id > ${after}::bigint and split_part(${column}, ':', 2) <> ${keyring.id}
          order by id limit ${batchSize}::int for update`,
      (input) =>
        sql`update attune.trigger t set ${column} = r.value
          from jsonb_to_recordset(${input}::text::jsonb) as r(id bigint, value text) where t.id = r.id`,
    );
  }
  return { keys, secrets, settings, complete: batches < maxBatches };
}

/**
 * Throws StartError when a stored value was encrypted with a key that the keyring lacks. It checks every key and setting, and of the
 * executions' secrets those of unfinished executions, the oldest and the newest.
 */
export async function requireKeyring(db: Db, { ids }: Keyring): Promise<void> {
  const [missing] = await rows<{ id: string }>(
    db,
    sql`select f.id from (
        select encryption_key_hash as id from attune.key where encrypted
        union select split_part(s.value, ':', 2) from attune.pack, jsonb_each_text(secrets) s
        union select split_part(s.value, ':', 2) from attune.sensor, jsonb_each_text(secrets) s
        union select split_part(s.value, ':', 2) from attune.trigger t,
          unnest(array[t.webhook_secret, t.webhook_previous_secret, t.webhook_verify_token]) s(value) where s.value is not null
        union select split_part(x.encrypted, ':', 2) from (
          (select encrypted from attune.execution_secret order by id limit 1)
          union all (select encrypted from attune.execution_secret order by id desc limit 1)
          union all (select s.encrypted from attune.execution e join attune.execution_secret s on s.execution = e.id
            where ${statusIn([...unstarted, ...inProgress], "e.status")})) x) f
      where f.id not in (select jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb)) limit 1`,
  );
  if (!missing) return;
  throw new StartError(
    `Stored secrets were encrypted with the key ${missing.id}, which this process does not have: set ATTUNE__SECURITY__ENCRYPTION_KEY (or its _FILE) to it, or, where it was replaced, add it to ATTUNE__SECURITY__PREVIOUS_ENCRYPTION_KEYS.`,
  );
}
