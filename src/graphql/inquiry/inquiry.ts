import { assignedInquiries } from "../../access/resource.ts";
import { mayCancel, mayRespond } from "../../inquiry/access.ts";
import { Identity } from "../access/identity.ts";
import { Viewer } from "../access/viewer.ts";
import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { InquiryStatus } from "../kit/enums.ts";
import { byEnum, byId, byText, byTime } from "../kit/filter.ts";
import { InquiryStatusFilter } from "../kit/filter-inputs.ts";
import { defineList, pageCost } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

const InquiryActions = builder.objectRef<{ respond: boolean; cancel: boolean }>("InquiryActions").implement({
  description: "What you may do with an inquiry as it is now.",
  fields: (t) => ({
    respond: t.exposeBoolean("respond", {
      description: "Answer it: it is pending and assigned to you, or you may answer any.",
    }),
    cancel: t.exposeBoolean("cancel", { description: "Take it back." }),
  }),
});

/** A question to a person. */
export const Inquiry = builder.drizzleNode("inquiries", {
  name: "Inquiry",
  description: "A question to a person or to whoever has a role, answered once.",
  id: { column: (inquiry) => inquiry.id },
  select: {
    columns: { id: true, status: true, executionId: true, assignedToId: true, assignedRole: true, timeoutAt: true },
  },
  fields: (t) => ({
    created: t.expose("created", { type: "DateTime", description: "When it was asked." }),
    updated: t.expose("updated", { type: "DateTime", description: "When it last changed." }),
    prompt: t.exposeString("prompt", { description: "What is asked." }),
    responseSchema: t.expose("responseSchema", {
      type: "JSONObject",
      nullable: true,
      description: "What an answer must hold, as a map of parameters; null: any JSON will do.",
    }),
    status: t.expose("status", { type: InquiryStatus, description: "How far it is." }),
    response: t.expose("response", {
      type: "JSON",
      nullable: true,
      description: "The answer; once it has expired, the default answer.",
    }),
    defaultResponse: t.expose("defaultResponse", {
      type: "JSON",
      nullable: true,
      description: "The answer that is taken when nobody gave one in time.",
    }),
    timeoutAt: t.expose("timeoutAt", {
      type: "DateTime",
      nullable: true,
      description: "Until when it can be answered; null: for as long as the execution that asked goes on.",
    }),
    respondedAt: t.expose("respondedAt", { type: "DateTime", nullable: true, description: "When it was answered." }),
    assignedRole: t.exposeString("assignedRole", {
      nullable: true,
      description: "The role whose holders are to answer.",
    }),
    assignedTo: t.relation("assignedTo", { nullable: true, description: "Who is to answer." }),
    respondedBy: t.relation("respondedBy", { nullable: true, description: "Who answered." }),
    execution: t.relation("execution", {
      nullable: true,
      description: "The execution that asked; null when a person did.",
    }),
    viewerCan: t.field({
      type: InquiryActions,
      description: "What you may do with it as it is now.",
      resolve: (inquiry, _args, { session }) => {
        const open = inquiry.status === "pending" && !(inquiry.timeoutAt && inquiry.timeoutAt.getTime() <= Date.now());
        const can = (allowed: typeof mayRespond) => open && session !== null && allowed(session, inquiry);
        return { respond: can(mayRespond), cancel: can(mayCancel) };
      },
    }),
  }),
});

/** Inquiries, wherever they are listed. */
export const inquiries = defineList("Inquiry", "inquiries", {
  ref: Inquiry,
  where: {
    id: byId("Inquiry", "id", "The inquiry itself."),
    status: byEnum(InquiryStatusFilter, "status", "How far it is."),
    execution: byId("Execution", "executionId", "The execution that asked."),
    assignedTo: byId("Identity", "assignedToId", "Who is to answer."),
    assignedRole: byText("assignedRole", "The role whose holders are to answer."),
    respondedBy: byId("Identity", "respondedById", "Who answered."),
    prompt: byText("prompt", "What is asked."),
    timeoutAt: byTime("timeoutAt", "Until when it can be answered."),
    respondedAt: byTime("respondedAt", "When it was answered."),
    created: byTime("created", "When it was asked."),
  },
  order: { created: "When it was asked." },
  defaultOrder: ["created", "desc"],
});

addRootFields({
  table: "inquiries",
  name: "Inquiry",
  one: "inquiry",
  many: "inquiries",
  ref: Inquiry,
  list: inquiries,
  hasRef: false,
  isForAll: true,
});

builder.drizzleObjectField(Identity, "inquiries", (t) =>
  t.relatedConnection("inquiries", inquiries.related("The inquiries assigned to it by name."), inquiries.connection),
);

builder.drizzleObjectField(Execution, "inquiries", (t) =>
  t.relatedConnection("inquiries", inquiries.related("What it asked people."), inquiries.connection),
);

builder.objectField(Viewer, "myInquiries", (t) =>
  t.drizzleConnection(
    {
      type: Inquiry,
      description:
        "What you are asked: the inquiries assigned to you or to one of your roles, whatever became of them.",
      args: inquiries.args,
      complexity: pageCost,
      totalCount: (viewer, args, ctx) => inquiries.count(args, ctx, assignedInquiries(viewer)),
      resolve: (query, viewer, args, ctx) =>
        ctx.db.query.inquiries.findMany(query(inquiries.page(args, ctx, assignedInquiries(viewer)))),
    },
    inquiries.connection,
  ),
);
