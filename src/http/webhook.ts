import type { IncomingMessage, ServerResponse } from "node:http";
import type { Origins } from "../access/origin.ts";
import { formOf } from "../catalog/signature-form.ts";
import { isPassing } from "../db/passing.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { invalid, Refusal } from "../errors.ts";
import { readCloudEvents } from "../event/cloud-event.ts";
import {
  acceptDelivery,
  acceptsAddress,
  type DeliveredEvent,
  type Delivery,
  type DeliveryResponse,
  findWebhook,
  isVerifyToken,
  recordRefusedDelivery,
  verifyDelivery,
  type Webhook,
} from "../event/webhook.ts";
import { withFiles } from "../event/webhook-files.ts";
import { decompress, readMessage, readPairs, TooLongError } from "../lib/body.ts";
import { globalId } from "../lib/global-id.ts";
import type { Json } from "../lib/json.ts";
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
  const isHandshake = request.method === "OPTIONS" && request.headers["webhook-request-origin"] !== undefined;
  // Meta asks in this way whether the server knows the token.
  const isSubscription = request.method === "GET" && url.searchParams.get("hub.mode") === "subscribe";
  const notAllowed = () => respond(response, 405, { error: "POST only" }, { allow: "POST" });
  if (request.method !== "POST" && !isHandshake && !isSubscription) return notAllowed();
  const sourceIp = origins.addressOf(request);
  services.room.require();
  const webhook = await findWebhook(services.db, key);
  if (!webhook) return respond(response, 404, { error: "no such webhook" });
  const refuse = async (error: string) => {
    const delivery = { headers: headersOf(request), query: {}, body: new Uint8Array(), url: null };
    const refused = { ...delivery, sourceIp, startedAt: performance.now() };
    await storeRefusal(services, webhook, refused, { status: 403, events: [], error });
    respond(response, 403, { error }, { connection: "close" });
  };
  if (!acceptsAddress(webhook, sourceIp)) {
    return await refuse(
      `requests from ${sourceIp} are not accepted: the webhook's \`allow\` lists the addresses that are`,
    );
  }
  if (isSubscription) {
    if (webhook.verifyToken === null) return notAllowed();
    if (!isVerifyToken(services.keyring, webhook, url.searchParams.get("hub.verify_token") ?? "")) {
      return await refuse("hub.verify_token is not the verifyToken of the webhook");
    }
    const challenge = url.searchParams.get("hub.challenge") ?? "";
    if (/^[\w.-]{1,200}$/.test(challenge)) return respond(response, 200, challenge);
    return respond(response, 400, { error: "hub.challenge must be up to 200 letters, digits, dots and dashes" });
  }
  if (isHandshake) return webhook.config.cloud_events ? allowSender(request, response, webhook) : notAllowed();
  const limit = webhook.config.max_bytes ?? 1024 * 1024;
  await intake.admit(request, response, limit, () =>
    handleBody(services, webhook, { request, response, url, publicUrl, limit, sourceIp }),
  );
}

/** Allows the sender of CloudEvents to send, as the specification of their webhooks describes. */
function allowSender(request: IncomingMessage, response: ServerResponse, { config }: Webhook): void {
  const origin = String(request.headers["webhook-request-origin"]);
  const { requests, seconds } = config.rate_limit ?? { requests: 0, seconds: 1 };
  const rate = config.rate_limit ? String(Math.max(1, Math.floor((requests * 60) / seconds))) : "*";
  response.writeHead(200, { allow: "POST", "webhook-allowed-origin": origin, "webhook-allowed-rate": rate }).end();
}

function headersOf(request: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(", ") : (value ?? ""),
    ]),
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
  const delivery: Delivery = {
    headers: headersOf(request),
    query: readPairs(url.searchParams),
    body: new Uint8Array(),
    url: publicUrl === null ? null : `${publicUrl}${request.url}`,
    sourceIp,
    startedAt,
  };
  const { status, events, error, retryAfter, challenge } = await receive(services, webhook, {
    ...delivery,
    sent,
    limit,
  });
  // The rest of a body that is too long is unread: the connection cannot be used again.
  if (sent === null) return respond(response, status, { error }, { connection: "close" });
  if (error !== null) {
    return respond(response, status, { error }, retryAfter === undefined ? {} : { "retry-after": String(retryAfter) });
  }
  if (challenge !== undefined) return respond(response, status, { challenge });
  const ids = events.map((event) => event && globalId("Event", event));
  respond(response, status, isBatch(delivery, webhook) ? { events: ids } : { event: ids[0] ?? null });
}

const isBatch = ({ headers }: Delivery, { config }: Webhook) =>
  config.cloud_events === true && /^application\/cloudevents-batch\+json\b/i.test(headers["content-type"] ?? "");

/** Stores the delivery with its event, or with the reason for refusing it, and returns the response. */
async function receive(
  services: Services,
  webhook: Webhook,
  { sent, limit, ...received }: Delivery & { sent: Uint8Array | null; limit: number },
): Promise<DeliveryResponse> {
  const refuse = (status: DeliveryResponse["status"], error: string) =>
    storeRefusal(services, webhook, { ...received, body: sent ?? received.body }, { status, events: [], error });
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
    return await storeRefusal(services, webhook, delivery, { status: 401, events: [], error: verified.error });
  }
  const { signed, id } = verified;
  const { delivered, files } = webhook.config.cloud_events
    ? { delivered: readSigned(webhook, delivery), files: [] }
    : await readDelivered(delivery, id);
  const challenge = webhook.config.hmac?.scheme === "slack" ? challengeOf(delivered[0]?.body ?? null) : null;
  if (challenge !== null) return { status: 200, events: [], error: null, challenge };
  const response = await withFiles(services, files, (kept) =>
    write(services, (tx) =>
      acceptDelivery(
        tx,
        webhook,
        { ...delivery, signed },
        delivered.map((each) => ({ ...each, files: kept })),
      ),
    ),
  );
  return response.status === 429 ? await storeRefusal(services, webhook, delivery, response) : response;
}

async function readDelivered({ body, headers }: Delivery, id: string | null) {
  const { value, files } = await readMessage(body, headers["content-type"], "payload.body");
  const delivered: DeliveredEvent[] = [{ body: value, id }];
  return { delivered, files };
}

function readSigned({ config }: Webhook, { headers, body }: Delivery): DeliveredEvent[] {
  const { mode, events } = readCloudEvents(headers, body);
  if (mode === "binary" && config.hmac && formOf(config.hmac).algorithm !== "token") {
    throw invalid(
      "payload.body",
      "has its attributes in headers, which are not signed: send application/cloudevents+json",
    );
  }
  return events;
}

/** Returns the challenge of Slack's request that asks whether this server has the secret; null for any other body. */
function challengeOf(body: Json): string | null {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return null;
  const { type, challenge } = body;
  return type === "url_verification" && typeof challenge === "string" ? challenge : null;
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
