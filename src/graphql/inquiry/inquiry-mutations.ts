import { cancelInquiry } from "../../inquiry/cancel.ts";
import { createInquiry } from "../../inquiry/create.ts";
import { respondToInquiry } from "../../inquiry/respond.ts";
import type { Json } from "../../lib/json.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { addRowMutation, idempotencyKey } from "../kit/mutation.ts";
import { Inquiry } from "./inquiry.ts";

const CreateInquiryInput = builder.inputType("CreateInquiryInput", {
  description: "A question to ask. Without an assignee whoever may answer any inquiry answers it.",
  fields: (t) => ({
    prompt: t.string({ required: true, description: "What is asked, at most 4000 characters." }),
    responseSchema: t.field({
      type: "JSONObject",
      description: "What an answer must hold, as a map of parameters; any JSON will do when left out.",
    }),
    assignedTo: t.string({ description: "The login of whoever is to answer." }),
    assignedRole: t.string({ description: "The role whose holders are to answer." }),
    timeoutSeconds: t.int({
      description:
        "How long it can be answered, at most 30 days; for ever, or while the execution that asks goes on, when left out.",
    }),
    defaultResponse: t.field({
      type: "JSON",
      description: "The answer that is taken when nobody gave one in time; must keep the schema.",
    }),
    idempotencyKey: idempotencyKey(t),
  }),
});

const RespondToInquiryInput = builder.inputType("RespondToInquiryInput", {
  description: "An answer.",
  fields: (t) => ({
    id: t.id({ required: true, description: "The inquiry's id." }),
    response: t.field({ type: "JSON", description: "The answer; must keep the inquiry's schema." }),
  }),
});

const CancelInquiryInput = builder.inputType("CancelInquiryInput", {
  description: "An inquiry to take back.",
  fields: (t) => ({ id: t.id({ required: true, description: "The inquiry's id." }) }),
});

const about = { table: "inquiries", ref: Inquiry } as const;

addRowMutation({
  ...about,
  name: "createInquiry",
  may: null, // an execution needs no grant to ask; for all others the verb checks
  description: "Asks a question. With an execution's token the execution asks, and the inquiry ends with it.",
  input: CreateInquiryInput,
  inputDescription: "The question.",
  payload: ["inquiry", "The new inquiry."],
  run: (tx, session, { idempotencyKey: _once, defaultResponse, ...question }) =>
    createInquiry(tx, session, {
      ...question,
      defaultResponse: (defaultResponse ?? null) as Json, // the scalar JSON takes nothing else
    }),
});

addRowMutation({
  ...about,
  name: "respondToInquiry",
  may: null, // an assignee needs no grant; for all others the verb checks
  description: "Responds to an inquiry, once. The execution that waits for it goes on.",
  input: RespondToInquiryInput,
  inputDescription: "The response.",
  payload: ["inquiry", "The inquiry as it is now."],
  run: (tx, session, { id, response }) =>
    // The scalar JSON takes nothing else.
    respondToInquiry(tx, session, { id: readId("Inquiry", id, "id"), response: (response ?? null) as Json }),
});

addRowMutation({
  ...about,
  name: "cancelInquiry",
  may: null, // who asked needs no grant; for all others the verb checks
  description: "Cancels an inquiry. The execution that waits for it is cancelled.",
  input: CancelInquiryInput,
  inputDescription: "The inquiry to cancel.",
  payload: ["inquiry", "The inquiry as it is now."],
  run: (tx, session, { id }) => cancelInquiry(tx, session, { id: readId("Inquiry", id, "id") }),
});
