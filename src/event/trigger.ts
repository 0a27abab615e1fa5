import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorize, targetOf } from "../access/grants.ts";
import { type KeyedEngine, storePackSecret } from "../access/key.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import { type Engine, write } from "../db/engine.ts";
import { ConflictError, NotFoundError } from "../errors.ts";
import { checkInput, componentRef } from "../lang/input.ts";
import type { JsonObject } from "../lang/json.ts";
import { parameterMap } from "../lang/schema.ts";

const triggerInput = z.object({
  ref: componentRef,
  label: z.string().min(1).max(200).nullish(),
  description: z.string().max(10_000).nullish(),
  enabled: z.boolean().nullish(),
  paramSchema: parameterMap.nullish(),
  outSchema: parameterMap.nullish(),
});

/** Makes a trigger in the pack that its ref names. Throws InvalidInputError, NotFoundError (pack), ConflictError (taken). */
export async function createTrigger(
  engine: Engine,
  session: Session,
  input: {
    ref: string;
    label?: string | null;
    description?: string | null;
    enabled?: boolean | null;
    paramSchema?: JsonObject | null;
    outSchema?: JsonObject | null;
  },
): Promise<{ id: bigint }> {
  const checked = checkInput(triggerInput, input);
  const packRef = checked.ref.slice(0, checked.ref.indexOf("."));
  authorize(session, "trigger", "create", targetOf(checked.ref));
  return await write(engine, async (tx) => {
    const [pack] = await rows<{ id: string }>(tx.db, sql`select id::text from attune.pack where ref = ${packRef}`);
    if (!pack) throw new NotFoundError("pack", packRef);
    const [trigger] = await rows<{ id: string }>(
      tx.db,
      sql`insert into attune.trigger (ref, pack, pack_ref, label, description, enabled, is_adhoc, param_schema, out_schema)
        values (${checked.ref}, ${pack.id}::bigint, ${packRef}, ${checked.label ?? checked.ref}, ${checked.description ?? null},
          ${checked.enabled ?? true}, true, ${jsonText(checked.paramSchema)}::text::jsonb, ${jsonText(checked.outSchema)}::text::jsonb)
        on conflict (ref) do nothing returning id::text`,
    );
    if (!trigger) throw new ConflictError(`There is a trigger "${checked.ref}" already.`);
    return { id: BigInt(trigger.id) };
  });
}

function jsonText(value: object | null | undefined): string | null {
  return value ? JSON.stringify(value) : null;
}

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

/** How a webhook's requests are taken; `hmac.key` is the ref of an encrypted key, never the secret itself. */
export interface WebhookConfig {
  hmac: { key: string; algorithm: "sha256" | "sha512"; header: string; prefix: string } | null;
  max_bytes: number;
  delivery_header: string;
}

/**
 * Gives the trigger a webhook, or changes the one it has: its URL stays. The HMAC secret is kept as an encrypted key of the
 * trigger's pack. Throws NotFoundError, InvalidInputError.
 */
export async function enableWebhook(
  engine: KeyedEngine,
  session: Session,
  input: { trigger: string; hmac?: unknown; maxBytes?: number | null; deliveryHeader?: string | null },
): Promise<{ id: bigint }> {
  const { hmac, maxBytes, deliveryHeader } = checkInput(webhookInput, input);
  authorize(session, "trigger", "update", targetOf(input.trigger));
  return await write(engine, async (tx) => {
    const [trigger] = await rows<{ id: string; ref: string; pack: string; packRef: string }>(
      tx.db,
      sql`select id::text as "id", ref as "ref", pack::text as "pack", pack_ref as "packRef" from attune.trigger
        where ref = ${input.trigger} for update`,
    );
    if (!trigger) throw new NotFoundError("trigger", input.trigger);
    const name = `webhook-${trigger.ref.slice(trigger.ref.indexOf(".") + 1)}`.slice(0, 63);
    const { pack, packRef } = trigger;
    const config: WebhookConfig = {
      hmac: hmac
        ? {
            key: await storePackSecret(tx, engine.keyring, { pack, packRef, name, value: hmac.secret }),
            algorithm: hmac.algorithm ?? "sha256",
            header: hmac.header ?? "x-hub-signature-256",
            prefix: hmac.prefix ?? `${hmac.algorithm ?? "sha256"}=`,
          }
        : null,
      max_bytes: maxBytes ?? 1024 * 1024,
      delivery_header: deliveryHeader ?? "x-github-delivery",
    };
    await tx.db.execute(
      sql`update attune.trigger set webhook_enabled = true, webhook_config = ${JSON.stringify(config)}::text::jsonb,
          webhook_key = coalesce(webhook_key, ${randomBytes(32).toString("base64url")})
        where id = ${trigger.id}::bigint`,
    );
    return { id: BigInt(trigger.id) };
  });
}
