import { sql } from "drizzle-orm";
import { builder } from "../kit/builder.ts";
import { AuditOutcome } from "../kit/enums.ts";
import { byEnum, byId, byText, byTime } from "../kit/filter.ts";
import { AuditOutcomeFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

const meanings = {
  category: "What kind of thing was done: mutation, sign_in, denial, reveal, download.",
  eventType: "What was done: the mutation's name, or the field that was denied.",
  outcome: "How it ended.",
  actorLogin:
    "The login of whoever did it, kept when the identity is deleted; for a sign-in, the login that was given.",
  actorKind: "By which kind of credential: session, api, execution, sensor.",
  ip: "The address that it came from.",
  requestId: "The id of the request, as its answer had it in `x-request-id`.",
  resourceType: "What it was done to: rule, key, …",
  resourceRef: "The ref, name or id of that.",
  created: "When it was done.",
} as const;

const AuditEvent = builder.drizzleNode("auditEvents", {
  name: "AuditEvent",
  description: "An entry of the audit trail. It never changes; after 365 days it is removed.",
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
      description: "The input without its secrets; of what was refused, the code; of a denial, where.",
    }),
    created: t.expose("created", { type: "DateTime", description: meanings.created }),
    actor: t.relation("actor", { nullable: true, description: "Who did it; null when deleted, or when nobody was." }),
  }),
});

const auditEvents = defineList("AuditEvent", "auditEvents", {
  ref: AuditEvent,
  where: {
    id: byId("AuditEvent", "id", "The entry itself."),
    category: byText("category", meanings.category),
    eventType: byText("eventType", meanings.eventType),
    outcome: byEnum(AuditOutcomeFilter, "outcome", meanings.outcome),
    actor: byId("Identity", "actorId", "Who did it."),
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
