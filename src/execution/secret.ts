import { sql } from "drizzle-orm";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import type { Tx } from "../db/tx.ts";
import type { SecretValue } from "../lang/template.ts";
import { ABSENT, type Json, type JsonObject, lookup } from "../lib/json.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { escapeKey, findSecrets, replaceAt } from "../secrecy/find.ts";
import type { Keyring } from "../secrecy/keyring.ts";
import { createMask, type Mask, marker, type Secret } from "../secrecy/mask.ts";

/** A stored secret of an execution: its place in the parameters (a JSON pointer), its source, and the encrypted value. */
export interface StoredSecret {
  path: string;
  source: string;
  encrypted: string;
}

/** The content that is encrypted: the parameter's value, and the texts to mask. */
interface SealedContent {
  value: Json;
  texts: Secret[];
}

/** The use of keys in parameters: the values rendered from keys, and the keys' own values by ref. */
export interface KeyUse {
  values: readonly SecretValue[];
  keys: ReadonlyMap<string, string>;
}

interface Concealed {
  shown: string;
  source: string;
  texts: Secret[];
}

/**
 * Removes the secrets from checked parameters: values rendered from keys, and parameters that the action declares secret. Returns the
 * parameters with `[secret:<name>]` in their places, and the encrypted secrets.
 */
export function concealSecrets(
  keyring: Keyring,
  schema: ParameterMap | null,
  config: JsonObject,
  { values, keys }: KeyUse = { values: [], keys: new Map() },
): { config: JsonObject; secrets: StoredSecret[] } {
  const declared = schema ? findSecrets(schema, config) : [];
  if (values.length === 0 && declared.length === 0) return { config, secrets: [] };
  const places = new Map<string, Concealed>();
  for (const { path, names, shown } of values) {
    const texts = names.map((name) => ({ name, text: keys.get(name) ?? "" }));
    texts.push(...derivedTexts(lookup(config, path), texts, names.join(", ")));
    places.set(path, { shown, source: names.map((name) => `key:${name}`).join(", "), texts });
  }
  for (const { path, name, value } of declared) {
    const outer = [...places].find(([place]) => path.startsWith(`${place}/`))?.[1];
    const own = places.get(path);
    const isKey = own?.texts.some(({ text }) => text === value);
    if (isKey) continue;
    const text = { name, text: value };
    if (outer) outer.texts.push(text);
    else places.set(path, { shown: marker(name), source: `parameter:${name}`, texts: [...(own?.texts ?? []), text] });
  }
  const shown = structuredClone(config);
  const secrets = [...places].map(([path, { source, texts }]): StoredSecret => {
    const value = lookup(config, path);
    if (value === ABSENT) throw new Error(`the parameters have no value at ${path}`);
    return { path, source, encrypted: keyring.seal(JSON.stringify({ value, texts } satisfies SealedContent)) };
  });
  replaceAt(shown, new Map([...places].map(([path, place]) => [path, place.shown])));
  return { config: shown, secrets };
}

/** Returns the texts of a value that was derived from the secrets but contains none of them unchanged: an upper-case form, a part. */
function derivedTexts(value: Json | typeof ABSENT, of: readonly Secret[], name: string): Secret[] {
  const texts = value === ABSENT ? [] : textsIn(value);
  const isPlain = texts.some((text) => of.some((secret) => secret.text !== "" && text.includes(secret.text)));
  return isPlain ? [] : texts.map((text) => ({ name, text }));
}

function textsIn(value: Json): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

/** Stores the secrets of executions, in one statement. */
export async function insertSecrets(tx: Tx, secrets: readonly (StoredSecret & { execution: string })[]): Promise<void> {
  if (secrets.length === 0) return;
  await rows(
    tx.db,
    sql`insert into attune.execution_secret (execution, path, source, encrypted)
      select execution, path, source, encrypted
      from jsonb_to_recordset(${JSON.stringify(secrets)}::text::jsonb) as r(execution bigint, path text, source text, encrypted text)`,
  );
}

/** Gives executions the secrets of those whose parameters they have, in one statement. */
export async function copySecrets(tx: Tx, copies: readonly { from: string; to: string }[]): Promise<void> {
  await tx.db.execute(
    sql`insert into attune.execution_secret (execution, path, source, encrypted)
      select r."to", s.path, s.source, s.encrypted
      from jsonb_to_recordset(${JSON.stringify(copies)}::text::jsonb) as r("from" bigint, "to" bigint)
        join attune.execution_secret s on s.execution = r."from" order by s.id`,
  );
}

/** Returns the parameters with their secrets, and the mask for the action's output. Throws when the keyring cannot decrypt one. */
export function openSecrets(
  keyring: Keyring,
  shown: JsonObject,
  secrets: readonly Pick<StoredSecret, "path" | "encrypted">[],
): { config: JsonObject; mask: Mask | null } {
  if (secrets.length === 0) return { config: shown, mask: null };
  const contents = secrets.map(({ encrypted }) => openContent(keyring, encrypted));
  const config = structuredClone(shown);
  replaceAt(config, new Map(secrets.map(({ path }, index) => [path, contents[index]?.value ?? null])));
  return { config, mask: createMask(contents.flatMap(({ texts }) => texts)) };
}

function openContent(keyring: Keyring, encrypted: string): SealedContent {
  return JSON.parse(keyring.open(encrypted)) as SealedContent; // sealed by `concealSecrets`
}

/** The database and the keyring, of the services or a transaction. */
type SecretStore = Pick<Services, "db" | "keyring">;

/** Returns the secrets of the session's execution; none for other sessions. */
async function findSecretsOfSession({ db, keyring }: SecretStore, { executionId }: Session): Promise<Secret[]> {
  if (executionId === null) return [];
  const secrets = await rows<{ encrypted: string }>(
    db,
    sql`select encrypted from attune.execution_secret where execution = ${String(executionId)}::bigint order by id`,
  );
  return secrets.flatMap(({ encrypted }) => openContent(keyring, encrypted).texts);
}

/** Returns the mask for requests of the session's execution; null for executions without secrets and for other sessions. */
export async function findMask(services: SecretStore, session: Session): Promise<Mask | null> {
  return createMask(await findSecretsOfSession(services, session));
}

/** Returns the secrets of the session's execution that these parameters contain, so that they stay secret in its children. */
export async function findInheritedSecrets(
  services: SecretStore,
  session: Session,
  config: JsonObject,
): Promise<KeyUse> {
  const inherited = await findSecretsOfSession(services, session);
  const keys = new Map(inherited.toReversed().map(({ name, text }) => [name, text]));
  const mask = createMask(inherited);
  const visit = (value: Json, path: string): SecretValue[] => {
    if (typeof value === "object" && value !== null) {
      return Object.entries(value).flatMap(([key, item]) => visit(item, `${path}/${escapeKey(key)}`));
    }
    const shown = mask?.json(value) ?? value;
    return shown === value ? [] : [{ path, names: [...keys.keys()], shown: String(shown) }];
  };
  return { values: mask ? visit(config, "") : [], keys };
}
