import { createEvent } from "../../event/record.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { byFlag, byId, byInt, byOwnId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRowMutation, idempotencyKeyField } from "../kit/mutation.ts";
import { addRootFields } from "../kit/root.ts";
import { RuleHold } from "../kit/window-enums.ts";
import { enforcements } from "../rule/enforcement.ts";

const RuleEvaluation = builder.drizzleObject("ruleEvaluations", {
  name: "RuleEvaluation",
  description: "The evaluation of an event by a rule, for those who may read both.",
  select: { columns: { id: true } },
  fields: (t) => ({
    at: t.expose("created", { type: "DateTime", description: "When it was evaluated." }),
    matched: t.exposeBoolean("matched", { description: "Whether the rule matched." }),
    ruleRevision: t.exposeInt("ruleRevision", { description: "The revision of the rule at that time." }),
    detail: t.expose("detail", {
      type: ["JSON"],
      description:
        "Each criterion: path, operator, expected, actual, result and error. Of large values only the beginning or the size is kept.",
    }),
    held: t.expose("held", {
      type: RuleHold,
      nullable: true,
      description: "What kept the match from starting the rule's action; null: nothing.",
    }),
    windowKey: t.exposeString("key", {
      nullable: true,
      description: "The key by which the rule's window grouped the event; null without one.",
    }),
    rule: t.relation("rule", { nullable: true, description: "The rule." }),
    event: t.relation("event", { nullable: true, description: "The event." }),
  }),
});

/** Lists of evaluations: filters, orders and connection. */
export const evaluations = defineList("RuleEvaluation", "ruleEvaluations", {
  ref: RuleEvaluation,
  where: {
    rule: byId("Rule", "ruleId", "The rule."),
    event: byId("Event", "eventId", "The event."),
    matched: byFlag("matched", "Whether the rule matched."),
    at: byTime("created", "When it was evaluated."),
  },
  order: { created: "When it was evaluated." },
  defaultOrder: ["created", "desc"],
});

/** Something that happened. */
export const Event = builder.drizzleNode("events", {
  name: "Event",
  description: "Something that happened. It is stored first, then evaluated by every enabled rule of its trigger.",
  id: { column: (event) => event.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    created: t.expose("created", { type: "DateTime", description: "When it was stored." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it was last corrected. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    triggerRef: t.exposeString("triggerRef", { description: "The trigger's ref, kept when the trigger is deleted." }),
    payload: t.expose("payload", { type: "JSON", nullable: true, description: "Its payload." }),
    config: t.expose("config", {
      type: "JSONObject",
      nullable: true,
      description: "The trigger's parameters at that time, if any.",
    }),
    sourceRef: t.exposeString("sourceRef", { nullable: true, description: "The ref of the sensor that emitted it." }),
    traceTag: t.exposeString("traceTag", { description: "Shared by all events and executions with the same origin." }),
    generation: t.exposeInt("generation", {
      description: "The number of events that led to it. Above 32, rules do not evaluate it.",
    }),
    evaluatedAt: t.expose("evaluatedAt", {
      type: "DateTime",
      nullable: true,
      description: "When the rules had evaluated it; null while it waits.",
    }),
    skipped: t.exposeString("skipped", { nullable: true, description: "Why the rules did not evaluate it." }),
    evaluationsOmitted: t.exposeInt("evaluationsOmitted", {
      description: "How many evaluations without a match were not recorded: an event has at most 100 of them.",
    }),
    trigger: t.relation("trigger", { nullable: true, description: "The trigger; null if it was deleted." }),
    source: t.relation("source", {
      nullable: true,
      description: "The sensor that emitted it; null if none did or it was deleted.",
    }),
    rule: t.relation("rule", {
      nullable: true,
      description: "The only rule that evaluates it (for timers); null otherwise.",
    }),
    cause: t.relation("cause", { nullable: true, description: "The execution that caused it." }),
    evaluations: t.relatedConnection(
      "evaluations",
      evaluations.related("The evaluations that its rules recorded."),
      evaluations.connection,
    ),
    enforcements: t.relatedConnection(
      "enforcements",
      enforcements.related("The enforcements of the rules that matched it."),
      enforcements.connection,
    ),
  }),
});

/** Lists of events: filters, orders and connection. */
export const events = defineList("Event", "events", {
  ref: Event,
  where: {
    id: byOwnId("Event", "The event itself."),
    trigger: byText("triggerRef", "The trigger's ref."),
    triggerId: byId("Trigger", "triggerId", "The trigger; null if it was deleted."),
    source: byText("sourceRef", "The ref of the sensor that emitted it."),
    cause: byId("Execution", "causeExecutionId", "The execution that caused it."),
    traceTag: byText("traceTag", "Its trace tag."),
    generation: byInt("generation", "The number of events that led to it."),
    created: byTime("created", "When it was stored."),
    evaluatedAt: byTime("evaluatedAt", "When the rules had evaluated it."),
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
  t.relatedConnection("effects", events.related("The events that it caused."), events.connection),
);

const CreateEventInput = builder.inputType("CreateEventInput", {
  description: "An event to store.",
  fields: (t) => ({
    trigger: t.string({ required: true, description: "The trigger's ref." }),
    payload: t.field({ type: "JSON", description: "The event's payload. It must conform to the trigger's schema." }),
    config: t.field({ type: "JSONObject", description: "The trigger's parameters at that time." }),
    source: t.string({ description: "The ref of the sensor that observed it. You must be able to read the sensor." }),
    traceTag: t.string({
      description: "Its trace tag. By default it is composed of the trigger's ref and the event's id.",
    }),
    idempotencyKey: idempotencyKeyField(t),
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
  run: (tx, session, { trigger, traceTag = null, payload, config, source = null }) =>
    // The scalars accept only JSON, and the verb checks it.
    createEvent(tx, session, {
      ...{ trigger, traceTag, source },
      payload: (payload ?? null) as Json,
      config: (config ?? null) as JsonObject | null,
    }),
});
