import { cancelInquiry } from "../../inquiry/cancel.ts";
import { createInquiry } from "../../inquiry/create.ts";
import { respondToInquiry } from "../../inquiry/respond.ts";
import type { Json } from "../../lib/json.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { refusable } from "../kit/refusals.ts";
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
    idempotencyKey: t.string({
      description: "Makes a repetition of this very request answer what the first one made.",
    }),
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

builder.mutationField("createInquiry", (t) =>
  // An execution asks without a grant: the verb decides.
  t.withAuth({ signedIn: true }).drizzleField({
    type: Inquiry,
    nullable: true,
    description: "Asks somebody. With an execution's token the execution asks, and the inquiry ends with it.",
    args: { input: t.arg({ type: CreateInquiryInput, required: true, description: "The question." }) },
    errors: refusable("inquiry", "The new inquiry."),
    resolve: async (query, _root, { input }, ctx) => {
      const { idempotencyKey: _once, defaultResponse, ...question } = input;
      const { id } = await createInquiry(ctx.engine, ctx.session, {
        ...question,
        defaultResponse: (defaultResponse ?? null) as Json, // the scalar JSON takes nothing else
      });
      return await ctx.written.query.inquiries.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("respondToInquiry", (t) =>
  // The assignee answers without a grant: the verb decides.
  t.withAuth({ signedIn: true }).drizzleField({
    type: Inquiry,
    nullable: true,
    description: "Answers an inquiry, once. The execution that waits for it goes on.",
    args: { input: t.arg({ type: RespondToInquiryInput, required: true, description: "The answer." }) },
    errors: refusable("inquiry", "The inquiry as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const id = readId("Inquiry", input.id, "id");
      const response = (input.response ?? null) as Json; // the scalar JSON takes nothing else
      await respondToInquiry(ctx.engine, ctx.session, { id, response });
      return await ctx.written.query.inquiries.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("cancelInquiry", (t) =>
  // Who asked takes it back without a grant: the verb decides.
  t.withAuth({ signedIn: true }).drizzleField({
    type: Inquiry,
    nullable: true,
    description: "Takes an inquiry back. The execution that waits for it is cancelled.",
    args: { input: t.arg({ type: CancelInquiryInput, required: true, description: "The inquiry." }) },
    errors: refusable("inquiry", "The inquiry as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await cancelInquiry(ctx.engine, ctx.session, { id: readId("Inquiry", input.id, "id") });
      return await ctx.written.query.inquiries.findFirst(query({ where: { id } }));
    },
  }),
);
