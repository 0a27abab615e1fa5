import { type SQL, sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { JsonObject } from "../lib/json.ts";
import { parametersOf } from "../schema/fields.ts";
import { compileParameters } from "../schema/schema.ts";
import type { Keyring } from "../secrecy/keyring.ts";
import {
  hasClearSecrets,
  hideSecrets,
  restoreSecrets,
  type SealedSettings,
  type StoredSettings,
  sealSecrets,
} from "../secrecy/settings.ts";

/**
 * Checks settings against their schema and returns them in their stored form, with defaults filled in. A secret that comes back hidden
 * keeps the value of `stored`. Throws InvalidInputError.
 */
export function checkSettings(
  keyring: Keyring,
  { schema, config }: { schema: JsonObject; config: JsonObject },
  stored: { schema: JsonObject; secrets: SealedSettings } = { schema: {}, secrets: {} },
): StoredSettings {
  const map = parametersOf(schema);
  const known = { map: parametersOf(stored.schema), secrets: stored.secrets };
  const values = restoreSecrets(keyring, { map, values: config, path: "config" }, known);
  return sealSecrets(keyring, map, compileParameters(map)(values, "config"));
}

interface Stored {
  id: string;
  schema: JsonObject;
  config: JsonObject;
  secrets: SealedSettings;
}

/**
 * Encrypts the secret settings of packs and sensors that are stored in clear, as earlier versions stored them, and removes them from the
 * manifests of releases. `db` is a transaction.
 */
export async function sealStoredSettings(db: Db, keyring: Keyring): Promise<void> {
  await sealTable(db, keyring, { table: sql`attune.pack`, schema: sql`conf_schema` });
  await sealTable(db, keyring, { table: sql`attune.sensor`, schema: sql`param_schema` });
  const releases = await rows<{ id: string; schema: JsonObject; config: JsonObject }>(
    db,
    sql`select id::text, manifest #> '{pack,conf_schema}' as schema, manifest #> '{pack,config}' as config from attune.pack_release
      where manifest #>> '{pack,conf_schema}' like '%"secret"%' and manifest #> '{pack,config}' <> '{}'`,
  );
  for (const { id, schema, config } of releases) {
    const map = parametersOf(schema);
    if (!hasClearSecrets(map, config)) continue;
    const shown = JSON.stringify(hideSecrets(map, config));
    await db.execute(
      sql`update attune.pack_release set manifest = jsonb_set(manifest, '{pack,config}', ${shown}::text::jsonb) where id = ${id}::bigint`,
    );
  }
}

async function sealTable(db: Db, keyring: Keyring, { table, schema }: { table: SQL; schema: SQL }): Promise<void> {
  const found = await rows<Stored>(
    db,
    sql`select id::text, ${schema} as schema, config, secrets from ${table}
      where ${schema}::text like '%"secret"%' and config is not null order by id for no key update`,
  );
  for (const { id, schema: declared, config, secrets } of found) {
    const map = parametersOf(declared);
    if (!hasClearSecrets(map, config)) continue;
    const sealed = sealSecrets(keyring, map, config, secrets);
    await db.execute(
      sql`update ${table} set config = ${JSON.stringify(sealed.config)}::text::jsonb,
        secrets = ${JSON.stringify(sealed.secrets)}::text::jsonb where id = ${id}::bigint`,
    );
  }
}
