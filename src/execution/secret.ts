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

/** A secret of an execution as it is stored: where in its parameters (a JSON pointer), from where, and the encrypted value. */
export interface StoredSecret {
  path: string;
  source: string;
  encrypted: string;
}

/** What is encrypted: the parameter's value, and the texts that nothing may show. */
interface Content {
  value: Json;
  texts: Secret[];
}

/** What the parameters hold of keys: the values made of them, and the keys' own values by ref. */
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
 * Takes the secrets out of checked parameters: what keys went into, and what the action declares secret. Answers what may be shown and
 * stored, with `[secret:<name>]` in their places, and the secrets themselves, encrypted.
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
    texts.push(...derived(lookup(config, path), texts, names.join(", ")));
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
    if (value === ABSENT) throw new Error(`there is nothing at ${path}`);
    return { path, source, encrypted: keyring.seal(JSON.stringify({ value, texts } satisfies Content)) };
  });
  replaceAt(shown, new Map([...places].map(([path, place]) => [path, place.shown])));
  return { config: shown, secrets };
}

/** What was made of the secrets and holds none of them as it is: an upper-case form, a part. */
function derived(value: Json | typeof ABSENT, of: readonly Secret[], name: string): Secret[] {
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

/** The parameters as the action shall see them, and the mask for all that it writes. Throws when the keyring cannot open one. */
export function openSecrets(
  keyring: Keyring,
  shown: JsonObject,
  secrets: readonly Pick<StoredSecret, "path" | "encrypted">[],
): { config: JsonObject; mask: Mask | null } {
  if (secrets.length === 0) return { config: shown, mask: null };
  const contents = secrets.map(({ encrypted }) => contentOf(keyring, encrypted));
  const config = structuredClone(shown);
  replaceAt(config, new Map(secrets.map(({ path }, index) => [path, contents[index]?.value ?? null])));
  return { config, mask: createMask(contents.flatMap(({ texts }) => texts)) };
}

function contentOf(keyring: Keyring, encrypted: string): Content {
  return JSON.parse(keyring.open(encrypted)) as Content; // sealed by `concealSecrets`
}

/** Where secrets are and what opens them: the services, or a transaction. */
type Sealed = Pick<Services, "db" | "keyring">;

/** The secrets that the session's execution was given; none where the session is no execution's. */
async function findGiven({ db, keyring }: Sealed, { executionId }: Session): Promise<Secret[]> {
  if (executionId === null) return [];
  const secrets = await rows<{ encrypted: string }>(
    db,
    sql`select encrypted from attune.execution_secret where execution = ${String(executionId)}::bigint order by id`,
  );
  return secrets.flatMap(({ encrypted }) => contentOf(keyring, encrypted).texts);
}

/** The mask for what the session's execution sends to the API with its own token; null where it was given no secret, or is none. */
export async function findMask(services: Sealed, session: Session): Promise<Mask | null> {
  return createMask(await findGiven(services, session));
}

/** What parameters hand on of the secrets that the session's execution was given itself: its parts keep them as it does. */
export async function findHandedOn(services: Sealed, session: Session, config: JsonObject): Promise<KeyUse> {
  const given = await findGiven(services, session);
  const keys = new Map(given.toReversed().map(({ name, text }) => [name, text]));
  const mask = createMask(given);
  const visit = (value: Json, path: string): SecretValue[] => {
    if (typeof value === "object" && value !== null) {
      return Object.entries(value).flatMap(([key, item]) => visit(item, `${path}/${escapeKey(key)}`));
    }
    const shown = mask?.json(value) ?? value;
    return shown === value ? [] : [{ path, names: [...keys.keys()], shown: String(shown) }];
  };
  return { values: mask ? visit(config, "") : [], keys };
}
