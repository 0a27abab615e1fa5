import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { z } from "zod";
import { storePackSecret } from "../access/key.ts";
import {
  deleteRow,
  findPackForNew,
  findRow,
  insertRow,
  isEmpty,
  lockRow,
  type Row,
  updateRow,
  type Which,
} from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkNew, checkPatch, description, label, parameters } from "../schema/fields.ts";
import { checkInput, componentRef } from "../schema/input.ts";

/** The fields of a trigger that users set. A missing field has its default or, in an update, is unchanged. */
export interface TriggerFields {
  label?: string | null;
  description?: string | null;
  enabled?: boolean | null;
  paramSchema?: JsonObject | null;
  outSchema?: JsonObject | null;
  /** The ref of the sensor that emits its events. */
  sensor?: string | null;
}

const triggerFields = z
  .object({
    label,
    description: description.nullable(),
    enabled: z.boolean(),
    paramSchema: parameters.nullable(),
    outSchema: parameters.nullable(),
    sensor: z.string().max(200).nullable(),
  })
  .partial();

/**
 * Creates a trigger by hand in the pack that its ref names. Throws InvalidInputError, NotFoundError (pack, sensor), ForbiddenError,
 * ConflictError (the ref is taken).
 */
export async function createTrigger(
  tx: Tx,
  session: Session,
  input: TriggerFields & { ref: string },
): Promise<{ id: bigint }> {
  const { sensor: sensorRef, ...fields } = checkNew(triggerFields.extend({ ref: componentRef }), input);
  const pack = await findPackForNew(tx, session, { of: "trigger", ref: fields.ref });
  const source = await findSensor(tx, session, sensorRef);
  const values = { ...fields, ...source, label: fields.label ?? fields.ref, isAdhoc: true };
  return await insertRow(tx, "trigger", { ...values, packId: pack.id, packRef: pack.ref });
}

/**
 * Changes the fields that the patch names; of a trigger of a pack's files only `enabled`. Throws NotFoundError, InvalidInputError,
 * ForbiddenError, ConflictError.
 */
export async function updateTrigger(
  tx: Tx,
  session: Session,
  input: Which<"trigger"> & { patch: TriggerFields },
): Promise<{ id: bigint }> {
  const { sensor: sensorRef, ...fields } = checkPatch(triggerFields, input.patch);
  const { id, isAdhoc } = await lockRow(tx, session, { of: "trigger", doing: "update", which: input });
  const { enabled: _switch, ...others } = { ...fields, sensorRef };
  if (!isAdhoc && !isEmpty(others)) {
    throw new ConflictError(
      `The trigger "${input.ref}" comes from its pack's files: only whether it is enabled can be changed.`,
    );
  }
  await updateRow(tx, "trigger", { id, fields: { ...fields, ...(await findSensor(tx, session, sensorRef)) } });
  return { id };
}

/**
 * Deletes a trigger that was created by hand, with the secret of its webhook; its rules and events keep its ref. Throws NotFoundError,
 * ForbiddenError, ConflictError.
 */
export async function deleteTrigger(
  tx: Tx,
  session: Session,
  { ref }: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const { id, isAdhoc, packId } = await lockRow(tx, session, { of: "trigger", doing: "delete", which: { ref } });
  if (!isAdhoc) {
    throw new ConflictError(`The trigger "${ref}" comes from its pack's files: disable it instead.`);
  }
  await tx.db.execute(
    sql`delete from attune.key where owner_pack = ${String(packId)}::bigint and name = ${secretName(ref)}
        and not exists (select from attune.trigger t where t.id <> ${String(id)}::bigint and t.webhook_config #>> '{hmac,key}' = key.ref)`,
  );
  await deleteRow(tx, "trigger", id);
  return { id, ref };
}

/** Returns the columns that name the sensor: none if the field is missing, null ones if it is null. */
async function findSensor(
  tx: Tx,
  session: Session,
  ref: string | null | undefined,
): Promise<{ sensorId?: bigint | null; sensorRef?: string | null }> {
  if (ref === undefined) return {};
  if (ref === null) return { sensorId: null, sensorRef: null };
  const { id } = await findRow(tx.db, session, { of: "sensor", doing: "read", which: { ref } });
  return { sensorId: id, sensorRef: ref };
}

/** Returns the name of the pack's key that contains the secret of a trigger's webhook. */
const secretName = (ref: string) => `webhook-${ref.slice(ref.indexOf(".") + 1)}`.slice(0, 63);

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,100}$/, "must be the name of an HTTP header")
  .transform((name) => name.toLowerCase());

const webhookInput = z.object({
  hmac: z
    .object({
      secret: z.string().min(6, "must have at least 6 characters").max(1000),
      algorithm: z.enum(["sha256", "sha512"]).nullish(),
      header: headerName.nullish(),
      prefix: z.string().max(100).nullish(),
    })
    .nullish(),
  maxBytes: z
    .int()
    .min(1)
    .max(25 * 1024 * 1024)
    .nullish(),
  deliveryHeader: headerName.nullish(),
});

/** How a webhook verifies its requests; `hmac.key` is the ref of an encrypted key, never the secret itself. */
export interface WebhookConfig {
  hmac: { key: string; algorithm: "sha256" | "sha512"; header: string; prefix: string } | null;
  max_bytes: number;
  delivery_header: string;
}

/**
 * Enables or changes the trigger's webhook and keeps its path. The HMAC secret is stored as an encrypted key of the trigger's pack.
 * Throws NotFoundError, InvalidInputError, ForbiddenError.
 */
export async function enableWebhook(
  tx: Tx,
  session: Session,
  input: { trigger: string; hmac?: unknown; maxBytes?: number | null; deliveryHeader?: string | null },
): Promise<{ id: bigint; webhookKey: string }> {
  const { hmac, maxBytes, deliveryHeader } = checkInput(webhookInput, input);
  const stored = await lockRow(tx, session, { of: "trigger", doing: "update", which: { ref: input.trigger } });
  const webhookConfig = {
    hmac: hmac ? await storeHmac(tx, stored, hmac) : null,
    max_bytes: maxBytes ?? 1024 * 1024,
    delivery_header: deliveryHeader ?? "x-github-delivery",
  } satisfies WebhookConfig;
  const webhookKey = stored.webhookKey ?? newWebhookKey();
  await updateRow(tx, "trigger", { id: stored.id, fields: { webhookEnabled: true, webhookConfig, webhookKey } });
  return { id: stored.id, webhookKey };
}

type Hmac = NonNullable<z.infer<typeof webhookInput>["hmac"]>;

async function storeHmac(
  tx: Tx,
  { ref, packId, packRef }: Row<"trigger">,
  { secret: value, algorithm, header, prefix }: Hmac,
): Promise<NonNullable<WebhookConfig["hmac"]>> {
  if (packId === null || packRef === null) throw new ConflictError(`The trigger "${ref}" belongs to no pack.`);
  return {
    key: await storePackSecret(tx, { pack: String(packId), packRef, name: secretName(ref), value }),
    algorithm: algorithm ?? "sha256",
    header: header ?? "x-hub-signature-256",
    prefix: prefix ?? `${algorithm ?? "sha256"}=`,
  };
}

/** Disables the trigger's webhook, which keeps its path. Throws NotFoundError, ForbiddenError. */
export async function disableWebhook(tx: Tx, session: Session, input: { trigger: string }): Promise<{ id: bigint }> {
  const { id, webhookEnabled } = await lockRow(tx, session, {
    of: "trigger",
    doing: "update",
    which: { ref: input.trigger },
  });
  if (webhookEnabled) await updateRow(tx, "trigger", { id, fields: { webhookEnabled: false } });
  return { id };
}

/** Gives the webhook a new path instead of the old one. Throws NotFoundError, ForbiddenError, ConflictError (no webhook). */
export async function rotateWebhookKey(
  tx: Tx,
  session: Session,
  input: { trigger: string },
): Promise<{ id: bigint; webhookKey: string }> {
  const stored = await lockRow(tx, session, { of: "trigger", doing: "update", which: { ref: input.trigger } });
  if (stored.webhookKey === null) {
    throw new ConflictError(`The trigger "${input.trigger}" has no webhook: enable it first.`);
  }
  const webhookKey = newWebhookKey();
  await updateRow(tx, "trigger", { id: stored.id, fields: { webhookKey } });
  return { id: stored.id, webhookKey };
}

const newWebhookKey = () => randomBytes(32).toString("base64url");
