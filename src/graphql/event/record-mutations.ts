import { deleteEnforcement, deleteEvent, updateEvent } from "../../event/change.ts";
import type { Json } from "../../lib/json.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { addDeletionById, addRowMutation } from "../kit/mutation.ts";
import { Event } from "./event.ts";

const UpdateEventInput = builder.inputType("UpdateEventInput", {
  description: "What to correct of an event; whatever is left out stays.",
  fields: (t) => ({
    id: t.id({ required: true, description: "The event's id." }),
    payload: t.field({ type: "JSON", description: "What it says; must keep the trigger's contract." }),
    config: t.field({ type: "JSONObject", description: "The trigger's parameters at the time." }),
  }),
});

addRowMutation({
  table: "events",
  ref: Event,
  name: "updateEvent",
  may: "event:update",
  description: "Corrects what is stored of an event. What came of it already stays as it is.",
  input: UpdateEventInput,
  inputDescription: "The event and what to correct of it.",
  payload: ["event", "The event as it is now."],
  run: (tx, session, { id, payload, config }) =>
    updateEvent(tx, session, {
      id: readId("Event", id, "id"),
      payload: (payload ?? null) as Json, // the scalar JSON takes nothing else
      config: config ?? null,
    }),
});

addDeletionById(
  {
    kind: "Event",
    noun: "event",
    may: "event:delete",
    description: "Deletes an event. The matches of rules and the executions that came of it stay.",
  },
  "id",
  deleteEvent,
);

addDeletionById(
  {
    kind: "Enforcement",
    noun: "enforcement",
    may: "enforcement:delete",
    description: "Deletes an enforcement. Its executions stay.",
  },
  "id",
  deleteEnforcement,
);
