import { createEvent } from "../../event/record.ts";
import type { Json } from "../../lib/json.ts";
import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { byFlag, byId, byInt, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRowMutation, idempotencyKey } from "../kit/mutation.ts";
import { addRootFields } from "../kit/root.ts";
import { enforcements } from "../rule/enforcement.ts";

const RuleEvaluation = builder.drizzleObject("ruleEvaluations", {
  name: "RuleEvaluation",
  description: "How one rule judged one event.",
  select: { columns: { id: true } },
  fields: (t) => ({
    at: t.expose("created", { type: "DateTime", description: "When it was judged." }),
    matched: t.exposeBoolean("matched", { description: "Whether the rule matched." }),
    ruleRevision: t.exposeInt("ruleRevision", { description: "The revision of the rule that judged." }),
    detail: t.expose("detail", {
      type: ["JSON"],
      description: "Each criterion: path, operator, expected, actual, result and error.",
    }),
    rule: t.relation("rule", { nullable: true, description: "The rule." }),
    event: t.relation("event", { nullable: true, description: "The event." }),
  }),
});

/** Evaluations, wherever they are listed. */
export const evaluations = defineList("RuleEvaluation", "ruleEvaluations", {
  ref: RuleEvaluation,
  where: {
    rule: byId("Rule", "ruleId", "The rule that judged."),
    event: byId("Event", "eventId", "The event that was judged."),
    matched: byFlag("matched", "Whether the rule matched."),
    at: byTime("created", "When it was judged."),
  },
  order: { created: "When it was judged." },
  defaultOrder: ["created", "desc"],
});

/** Something that happened. */
export const Event = builder.drizzleNode("events", {
  name: "Event",
  description: "Something that happened: stored first, then judged by every enabled rule of its trigger.",
  id: { column: (event) => event.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    created: t.expose("created", { type: "DateTime", description: "When it was stored." }),
    triggerRef: t.exposeString("triggerRef", { description: "The trigger's ref, kept when the trigger is deleted." }),
    payload: t.expose("payload", { type: "JSON", nullable: true, description: "What it says." }),
    config: t.expose("config", {
      type: "JSONObject",
      nullable: true,
      description: "The trigger's parameters at the time, where it has any.",
    }),
    sourceRef: t.exposeString("sourceRef", { nullable: true, description: "The ref of the sensor that saw it." }),
    traceTag: t.exposeString("traceTag", { description: "Shared by everything that comes of one cause." }),
    generation: t.exposeInt("generation", { description: "How many events led here; beyond 32 rules are not asked." }),
    evaluatedAt: t.expose("evaluatedAt", {
      type: "DateTime",
      nullable: true,
      description: "When the rules had judged it; null while it waits.",
    }),
    skipped: t.exposeString("skipped", { nullable: true, description: "Why the rules were not asked." }),
    trigger: t.relation("trigger", { nullable: true, description: "The trigger; null when it was deleted." }),
    source: t.relation("source", {
      nullable: true,
      description: "The sensor that saw it, if one did and is still there.",
    }),
    rule: t.relation("rule", { nullable: true, description: "The one rule that it is for (timers); else null." }),
    cause: t.relation("cause", { nullable: true, description: "The execution that it comes from." }),
    evaluations: t.relatedConnection(
      "evaluations",
      evaluations.related("How rules judged it, as far as they keep that."),
      evaluations.connection,
    ),
    enforcements: t.relatedConnection(
      "enforcements",
      enforcements.related("The matches of rules."),
      enforcements.connection,
    ),
  }),
});

/** Events, wherever they are listed. */
export const events = defineList("Event", "events", {
  ref: Event,
  where: {
    id: byId("Event", "id", "The event itself."),
    trigger: byText("triggerRef", "The trigger's ref."),
    source: byText("sourceRef", "The ref of the sensor that saw it."),
    cause: byId("Execution", "causeExecutionId", "The execution that it comes from."),
    traceTag: byText("traceTag", "Its trace tag."),
    generation: byInt("generation", "How many events led to it."),
    created: byTime("created", "When it was stored."),
    evaluatedAt: byTime("evaluatedAt", "When the rules had judged it."),
  },
  order: { created: "When it was stored." },
  defaultOrder: ["created", "desc"],
});

addRootFields({
  table: "events",
  name: "Event",
  one: "event",
  many: "events",
  ref: Event,
  list: events,
  hasRef: false,
});

builder.drizzleObjectField(Execution, "events", (t) =>
  t.relatedConnection("effects", events.related("The events that come from it."), events.connection),
);

const CreateEventInput = builder.inputType("CreateEventInput", {
  description: "An event to store.",
  fields: (t) => ({
    trigger: t.string({ required: true, description: "The trigger's ref." }),
    payload: t.field({ type: "JSON", description: "What the event says; must keep the trigger's contract." }),
    traceTag: t.string({
      description: "Its trace tag; left out, one is made of the trigger's ref and the event's id.",
    }),
    idempotencyKey: idempotencyKey(t),
  }),
});

addRowMutation({
  name: "createEvent",
  may: "event:create",
  description: "Stores an event. The rules of its trigger evaluate it like any other.",
  input: CreateEventInput,
  inputDescription: "The event.",
  table: "events",
  ref: Event,
  payload: ["event", "The new event."],
  run: (tx, session, { trigger, traceTag = null, payload }) =>
    createEvent(tx, session, { trigger, payload: (payload ?? null) as Json, traceTag }), // the scalar JSON takes nothing else
});
