import type { IncomingMessage, ServerResponse } from "node:http";
import type { Services } from "../db/services.ts";
import { type Delivery, findWebhook, receiveDelivery, refuse } from "../event/webhook.ts";
import { globalId } from "../lib/global-id.ts";
import { answer, readBody } from "./respond.ts";

/** `POST /webhooks/<key>`. An unknown key and a disabled webhook answer alike; 202 and 200 come after the commit. */
export async function handleWebhook(
  services: Services,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const startedAt = performance.now();
  const url = new URL(request.url ?? "/", "http://localhost");
  const key = url.pathname.slice("/webhooks/".length);
  if (request.method !== "POST") return answer(response, 405, { error: "POST only" }, { allow: "POST" });
  const webhook = await findWebhook(services.db, key);
  if (!webhook) return answer(response, 404, { error: "no such webhook" });
  const limit = webhook.config.max_bytes ?? 1024 * 1024;
  const body = await readBody(request, limit);
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(", ") : (value ?? ""),
    ]),
  );
  const delivery: Delivery = {
    headers,
    query: Object.fromEntries(url.searchParams),
    body: body ?? new Uint8Array(),
    sourceIp: request.socket.remoteAddress ?? null,
    startedAt,
  };
  if (body === null) {
    const error = `the body is longer than ${limit} bytes`;
    const refused = await refuse(services, webhook, delivery, { status: 413, event: null, error });
    // The rest of the body is on its way: the connection cannot be used again.
    return answer(response, refused.status, { error }, { connection: "close" });
  }
  const { status, event, error } = await receiveDelivery(services, webhook, delivery);
  answer(response, status, error === null ? { event: event && globalId("Event", event) } : { error });
}
