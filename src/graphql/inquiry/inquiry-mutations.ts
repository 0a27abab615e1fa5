import { cancelInquiry } from "../../inquiry/cancel.ts";
import { createInquiry } from "../../inquiry/create.ts";
import { respondToInquiry } from "../../inquiry/respond.ts";
import type { Json } from "../../lib/json.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { addRowMutation, idempotencyKeyField } from "../kit/mutation.ts";
import { Inquiry } from "./inquiry.ts";

const CreateInquiryInput = builder.inputType("CreateInquiryInput", {
  description: "A question to ask. Without an assignee, users who may respond to any inquiry can respond.",
  fields: (t) => ({
    prompt: t.string({ required: true, description: "The question, at most 4000 characters." }),
    responseSchema: t.field({
      type: "JSONObject",
      description: "The schema of the response, as a map of parameters. By default any JSON is accepted.",
    }),
    assignedTo: t.string({ description: "The login of the identity that is asked to respond." }),
    assignedRole: t.string({ description: "The role whose members are asked to respond." }),
    timeoutSeconds: t.int({
      description:
        "The timeout, in seconds, at most 30 days. By default there is none; an execution's inquiry ends with the execution.",
    }),
    defaultResponse: t.field({
      type: "JSON",
      description: "The response that is stored if the inquiry times out. It must conform to the schema.",
    }),
    idempotencyKey: idempotencyKeyField(t),
  }),
});

const RespondToInquiryInput = builder.inputType("RespondToInquiryInput", {
  description: "The response to an inquiry.",
  fields: (t) => ({
    id: t.id({ required: true, description: "The inquiry's id." }),
    response: t.field({ type: "JSON", description: "The response. It must conform to the inquiry's schema." }),
  }),
});

const CancelInquiryInput = builder.inputType("CancelInquiryInput", {
  description: "The inquiry to cancel.",
  fields: (t) => ({ id: t.id({ required: true, description: "The inquiry's id." }) }),
});

const about = { table: "inquiries", ref: Inquiry } as const;

addRowMutation({
  ...about,
  name: "createInquiry",
  may: null, // executions need no grant; the verb checks all other callers
  description: "Creates an inquiry. With an execution's token, the inquiry belongs to the execution and ends with it.",
  input: CreateInquiryInput,
  inputDescription: "The question.",
  payload: ["inquiry", "The new inquiry."],
  run: (tx, session, { idempotencyKey: _once, defaultResponse, ...question }) =>
    createInquiry(tx, session, {
      ...question,
      defaultResponse: (defaultResponse ?? null) as Json, // the scalar JSON accepts only JSON
    }),
});

addRowMutation({
  ...about,
  name: "respondToInquiry",
  may: null, // assignees need no grant; the verb checks all other callers
  description: "Responds to an inquiry, once. The execution that waits for it continues.",
  input: RespondToInquiryInput,
  inputDescription: "The response.",
  payload: ["inquiry", "The inquiry as it is now."],
  run: (tx, session, { id, response }) =>
    // The scalar JSON accepts only JSON.
    respondToInquiry(tx, session, { id: readId("Inquiry", id, "id"), response: (response ?? null) as Json }),
});

addRowMutation({
  ...about,
  name: "cancelInquiry",
  may: null, // the creator needs no grant; the verb checks all other callers
  description: "Cancels an inquiry and the execution that waits for it.",
  input: CancelInquiryInput,
  inputDescription: "The inquiry to cancel.",
  payload: ["inquiry", "The inquiry as it is now."],
  run: (tx, session, { id }) => cancelInquiry(tx, session, { id: readId("Inquiry", id, "id") }),
});
