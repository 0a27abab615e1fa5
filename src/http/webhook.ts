import type { IncomingMessage, ServerResponse } from "node:http";
import type { Origins } from "../access/origin.ts";
import { isPassing } from "../db/passing.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { Refusal } from "../errors.ts";
import {
  acceptDelivery,
  type Delivery,
  type DeliveryResponse,
  findWebhook,
  recordRefusedDelivery,
  verifyDelivery,
  type Webhook,
} from "../event/webhook.ts";
import { decompress, readPairs, readValue, TooLongError } from "../lib/body.ts";
import { globalId } from "../lib/global-id.ts";
import type { Intake } from "./intake.ts";
import { readBody, respond } from "./respond.ts";

/** What a webhook is handled with. */
export interface WebhookHandling {
  services: Services;
  origins: Origins;
  intake: Intake;
  /** The origin that senders use; null where it is not configured. */
  publicUrl: string | null;
}

/** Handles `POST /webhooks/<key>`. An unknown key and a disabled webhook get the same response; 202 and 200 are sent after the commit. */
export async function handleWebhook(
  { services, origins, intake, publicUrl }: WebhookHandling,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.once("finish", () => services.metrics.webhooks.inc({ status: String(response.statusCode) }));
  const url = new URL(request.url ?? "/", "http://localhost");
  const key = url.pathname.slice("/webhooks/".length);
  if (request.method !== "POST") return respond(response, 405, { error: "POST only" }, { allow: "POST" });
  const sourceIp = origins.addressOf(request);
  services.room.require();
  const webhook = await findWebhook(services.db, key);
  if (!webhook) return respond(response, 404, { error: "no such webhook" });
  const limit = webhook.config.max_bytes ?? 1024 * 1024;
  await intake.admit(request, response, limit, () =>
    handleBody(services, webhook, { request, response, url, publicUrl, limit, sourceIp }),
  );
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  publicUrl: string | null;
  limit: number;
  sourceIp: string | null;
}

async function handleBody(services: Services, webhook: Webhook, exchange: Exchange): Promise<void> {
  const { request, response, url, publicUrl, limit, sourceIp } = exchange;
  const startedAt = performance.now();
  const sent = await readBody(request, limit);
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(", ") : (value ?? ""),
    ]),
  );
  const delivery: Delivery = {
    headers,
    query: readPairs(url.searchParams),
    body: new Uint8Array(),
    url: publicUrl === null ? null : `${publicUrl}${request.url}`,
    sourceIp,
    startedAt,
  };
  const { status, event, error } = await receive(services, webhook, { ...delivery, sent, limit });
  // The rest of a body that is too long is unread: the connection cannot be used again.
  if (sent === null) return respond(response, status, { error }, { connection: "close" });
  respond(response, status, error === null ? { event: event && globalId("Event", event) } : { error });
}

/** Stores the delivery with its event, or with the reason for refusing it, and returns the response. */
async function receive(
  services: Services,
  webhook: Webhook,
  { sent, limit, ...received }: Delivery & { sent: Uint8Array | null; limit: number },
): Promise<DeliveryResponse> {
  const refuse = (status: DeliveryResponse["status"], error: string) =>
    storeRefusal(services, webhook, { ...received, body: sent ?? received.body }, { status, event: null, error });
  const tooLong = () => refuse(413, `the body is longer than ${limit} bytes`);
  if (sent === null) return await tooLong();
  try {
    const path = "payload.body";
    const body = await decompress(sent, received.headers["content-encoding"], { path, limit });
    return await acceptVerified(services, webhook, { ...received, body });
  } catch (error) {
    if (error instanceof TooLongError) return await tooLong();
    if (error instanceof Refusal) return await refuse(error.code === "CONFLICT" ? 409 : 400, error.message);
    // Without its database a request leaves no record: the sender gets 503.
    if (!isPassing(error)) {
      const unstored = (cause: unknown) => services.log.error({ err: cause }, "recording a failed delivery");
      await refuse(500, "the request failed: see the server's log").catch(unstored);
    }
    throw error;
  }
}

/** Throws the refusals of what the body holds. */
async function acceptVerified(services: Services, webhook: Webhook, delivery: Delivery): Promise<DeliveryResponse> {
  const verified = verifyDelivery(services.keyring, webhook, delivery);
  if ("error" in verified) {
    return await storeRefusal(services, webhook, delivery, { status: 401, event: null, error: verified.error });
  }
  const value = await readValue(delivery.body, delivery.headers["content-type"], "payload.body");
  return await write(services, (tx) => acceptDelivery(tx, webhook, { ...delivery, value }, verified));
}

async function storeRefusal(
  services: Services,
  webhook: Webhook,
  delivery: Delivery,
  refused: DeliveryResponse,
): Promise<DeliveryResponse> {
  await write(services, (tx) => recordRefusedDelivery(tx, webhook, delivery, refused));
  return refused;
}
