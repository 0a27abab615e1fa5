import { sql } from "drizzle-orm";
import { builder } from "../kit/builder.ts";
import { AuditOutcome } from "../kit/enums.ts";
import { byEnum, byId, byOwnId, byText, byTime } from "../kit/filter.ts";
import { AuditOutcomeFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

const meanings = {
  category: "The category: mutation, sign_in, denial, reveal, download.",
  eventType: "The name of the mutation, or of the denied field.",
  outcome: "The outcome.",
  actorLogin: "The login of that identity, kept when it is deleted; for a sign-in, the login that was entered.",
  actorKind: "The kind of credential: session, api, execution, sensor.",
  ip: "The IP address of the request.",
  requestId: "The id of the request, as in the response header `x-request-id`.",
  resourceType: "The kind of object that it concerned: rule, key, …",
  resourceRef: "The ref, name or id of that object.",
  created: "When it happened.",
} as const;

const AuditEvent = builder.drizzleNode("auditEvents", {
  name: "AuditEvent",
  description: "An entry of the audit trail. It never changes and is deleted after 365 days.",
  id: { column: (event) => event.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    category: t.exposeString("category", { description: meanings.category }),
    eventType: t.exposeString("eventType", { description: meanings.eventType }),
    outcome: t.expose("outcome", { type: AuditOutcome, description: meanings.outcome }),
    actorLogin: t.exposeString("actorLogin", { nullable: true, description: meanings.actorLogin }),
    actorKind: t.exposeString("actorKind", { nullable: true, description: meanings.actorKind }),
    ip: t.exposeString("ip", { nullable: true, description: meanings.ip }),
    requestId: t.exposeString("requestId", { nullable: true, description: meanings.requestId }),
    resourceType: t.exposeString("resourceType", { nullable: true, description: meanings.resourceType }),
    resourceRef: t.exposeString("resourceRef", { nullable: true, description: meanings.resourceRef }),
    details: t.expose("details", {
      type: "JSONObject",
      nullable: true,
      description: "The input without secrets; for a refusal, its code; for a denial, the denied paths.",
    }),
    created: t.expose("created", { type: "DateTime", description: meanings.created }),
    actor: t.relation("actor", {
      nullable: true,
      description: "The identity that did it; null if it was deleted or the caller was anonymous.",
    }),
  }),
});

const auditEvents = defineList("AuditEvent", "auditEvents", {
  ref: AuditEvent,
  where: {
    id: byOwnId("AuditEvent", "The entry itself."),
    category: byText("category", meanings.category),
    eventType: byText("eventType", meanings.eventType),
    outcome: byEnum(AuditOutcomeFilter, "outcome", meanings.outcome),
    actor: byId("Identity", "actorId", "The identity that did it."),
    actorLogin: byText("actorLogin", meanings.actorLogin),
    actorKind: byText("actorKind", meanings.actorKind),
    ip: byText((table) => sql`host(${table["ip"]})`, meanings.ip),
    requestId: byText("requestId", meanings.requestId),
    resourceType: byText("resourceType", meanings.resourceType),
    resourceRef: byText("resourceRef", meanings.resourceRef),
    created: byTime("created", meanings.created),
  },
  order: { created: meanings.created },
  defaultOrder: ["created", "desc"],
});

addRootFields({
  table: "auditEvents",
  name: "AuditEvent",
  one: "auditEvent",
  many: "auditEvents",
  ref: AuditEvent,
  list: auditEvents,
  hasRef: false,
});
