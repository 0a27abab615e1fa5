import { randomBytes } from "node:crypto";
import { z } from "zod";
import { lockRow, updateRow } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, InvalidInputError, invalid } from "../errors.ts";
import { checkInput } from "../schema/input.ts";

/** The ways in which senders sign: see `WebhookScheme` in the API. */
export const webhookSchemes = ["github", "standard_webhooks", "stripe", "slack", "body"] as const;

/** How a webhook verifies its requests. The secret is stored separately, encrypted. */
export interface WebhookConfig {
  /** Only `github` and `body` use the header and the prefix. */
  hmac: {
    scheme: (typeof webhookSchemes)[number];
    algorithm: "sha256" | "sha512";
    header: string;
    prefix: string;
  } | null;
  max_bytes: number;
  /** The header with the delivery's id; null for none. A signed request must have it, unless its scheme signs an id or a time. */
  delivery_header: string | null;
}

/** How a webhook's requests are signed. */
export type HmacConfig = NonNullable<WebhookConfig["hmac"]>;

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,100}$/, "must be the name of an HTTP header")
  .transform((name) => name.toLowerCase());

const webhookInput = z.object({
  hmac: z
    .object({
      secret: z.string().min(6, "must have at least 6 characters").max(1000),
      scheme: z.enum(webhookSchemes).nullish(),
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

const githubHeader = "x-hub-signature-256";
const githubDelivery = "x-github-delivery";

/**
 * Enables or changes the trigger's webhook and keeps its path. The secret belongs to the trigger and is stored encrypted in its row. Throws
 * NotFoundError, InvalidInputError, ForbiddenError.
 */
export async function enableWebhook(
  tx: Tx,
  session: Session,
  input: { trigger: string; hmac?: unknown; maxBytes?: number | null; deliveryHeader?: string | null },
): Promise<{ id: bigint; webhookKey: string }> {
  const { hmac: given, maxBytes, deliveryHeader } = checkInput(webhookInput, input);
  const hmac = given ? readHmac(given, deliveryHeader ?? null) : null;
  const stored = await lockRow(tx, session, { of: "trigger", doing: "update", which: { ref: input.trigger } });
  const webhookConfig = {
    hmac,
    max_bytes: maxBytes ?? 1024 * 1024,
    delivery_header: deliveryHeader ?? (hmac === null || hmac.scheme === "github" ? githubDelivery : null),
  } satisfies WebhookConfig;
  const webhookSecret = given ? tx.keyring.seal(given.secret) : null;
  const webhookKey = stored.webhookKey ?? newWebhookKey();
  const fields = { webhookEnabled: true, webhookConfig, webhookSecret, webhookKey };
  await updateRow(tx, "trigger", { id: stored.id, fields });
  return { id: stored.id, webhookKey };
}

type HmacInput = NonNullable<z.infer<typeof webhookInput>["hmac"]>;

function readHmac(input: HmacInput, deliveryHeader: string | null): HmacConfig {
  const { secret, algorithm, header, prefix } = input;
  const scheme = input.scheme ?? ((header ?? githubHeader) === githubHeader ? "github" : "body");
  if (scheme !== "github" && scheme !== "body") {
    const fixed = { "hmac.algorithm": algorithm, "hmac.header": header, "hmac.prefix": prefix, deliveryHeader };
    const issues = Object.entries(fixed).filter(([, value]) => value !== null && value !== undefined);
    if (issues.length > 0) {
      throw new InvalidInputError(issues.map(([path]) => ({ path, message: "is fixed by the scheme: leave it out" })));
    }
    if (scheme === "standard_webhooks" && !/^whsec_[A-Za-z0-9+/]{16,}=*$/.test(secret)) {
      throw invalid("hmac.secret", "must be whsec_ and the secret's bytes in base64");
    }
  }
  return {
    scheme,
    algorithm: algorithm ?? "sha256",
    header: header ?? githubHeader,
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

/** Returns the columns of a webhook whose senders do not sign, with a new path. */
export function unsignedWebhook() {
  const webhookConfig = {
    hmac: null,
    max_bytes: 1024 * 1024,
    delivery_header: githubDelivery,
  } satisfies WebhookConfig;
  return { webhookKey: newWebhookKey(), webhookConfig };
}

const newWebhookKey = () => randomBytes(32).toString("base64url");
