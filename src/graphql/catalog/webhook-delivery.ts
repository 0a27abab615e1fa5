import { builder } from "../kit/builder.ts";
import { byFlag, byId, byInt, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";

const WebhookDelivery = builder.drizzleObject("webhookDeliveries", {
  name: "WebhookDelivery",
  description: "A request to a webhook, for those who may read the events of its trigger.",
  select: { columns: { id: true } },
  fields: (t) => ({
    received: t.expose("created", { type: "DateTime", description: "When it was received." }),
    statusCode: t.exposeInt("statusCode", {
      description:
        "The status of the response: 202 for a new event; of a refusal 400 (the body), 401 (the signature), 403 (the address), 409 (the trigger is disabled), 413 (too long), 429 (the rate) or 500 (it failed).",
    }),
    error: t.exposeString("error", { nullable: true, description: "Why it was refused or failed." }),
    sourceIp: t.exposeString("sourceIp", { nullable: true, description: "The sender's address." }),
    headers: t.expose("headers", {
      type: "JSONObject",
      description:
        "The headers of a refused request, shortened and without credentials; those of an accepted one are in its event.",
    }),
    size: t.exposeInt("size", { description: "The length of the body, in bytes." }),
    durationMs: t.exposeInt("durationMs", { description: "The time until it was decided, in milliseconds." }),
    signatureVerified: t.exposeBoolean("hmacVerified", {
      nullable: true,
      description: "Whether its signature was right; null where none was checked.",
    }),
    deliveryId: t.exposeString("deliveryId", {
      nullable: true,
      description: "The sender's id of it, by which a repetition is known.",
    }),
    event: t.relation("event", {
      nullable: true,
      description: "Its event, unless it was refused or the event deleted.",
    }),
  }),
});

/** Lists of deliveries: filters, orders and connection. */
export const deliveries = defineList("WebhookDelivery", "webhookDeliveries", {
  ref: WebhookDelivery,
  where: {
    statusCode: byInt("statusCode", "The status of the response."),
    error: byText("error", "Why it was refused."),
    signatureVerified: byFlag("hmacVerified", "Whether its signature was right."),
    deliveryId: byText("deliveryId", "The sender's id of it."),
    event: byId("Event", "eventId", "Its event."),
    received: byTime("created", "When it was received."),
  },
  order: { created: "When it was received." },
  defaultOrder: ["created", "desc"],
});
