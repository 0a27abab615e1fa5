import { deleteEnforcement, deleteEvent, type EventFields, updateEvent } from "../../event/change.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { addDeletionById, addRowMutation, expectedUpdated } from "../kit/mutation.ts";
import { Event } from "./event.ts";

const UpdateEventInput = builder.inputType("UpdateEventInput", {
  description: "The corrections to an event.",
  fields: (t) => ({
    id: t.id({ required: true, description: "The event's id." }),
    payload: t.field({ type: "JSON", description: "The event's payload. It must conform to the trigger's schema." }),
    config: t.field({ type: "JSONObject", description: "The trigger's parameters at that time." }),
    expectedUpdated: expectedUpdated(t),
  }),
});

addRowMutation({
  table: "events",
  ref: Event,
  name: "updateEvent",
  may: "event:update",
  description:
    "Corrects an event; its enforcements and executions stay as they are. Omitted fields keep their values; null clears a field that can be null.",
  input: UpdateEventInput,
  inputDescription: "The event and its corrections.",
  payload: ["event", "The event as it is now."],
  run: (tx, session, { id, expectedUpdated: expected = null, ...patch }) =>
    updateEvent(tx, session, {
      id: readId("Event", id, "id"),
      expectedUpdated: expected,
      patch: patch as EventFields, // the verb checks it
    }),
});

addDeletionById(
  {
    kind: "Event",
    noun: "event",
    may: "event:delete",
    description: "Deletes an event. Its enforcements and executions stay.",
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
