import { assignedInquiries } from "../../access/resource.ts";
import { mayCancel, mayRespond } from "../../inquiry/access.ts";
import { Identity } from "../access/identity.ts";
import { Viewer } from "../access/viewer.ts";
import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { InquiryStatus } from "../kit/enums.ts";
import { byEnum, byId, byOwnId, byText, byTime } from "../kit/filter.ts";
import { InquiryStatusFilter } from "../kit/filter-inputs.ts";
import { defineList, pageCost } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

const InquiryActions = builder.objectRef<{ respond: boolean; cancel: boolean }>("InquiryActions").implement({
  description: "What you can do with an inquiry now.",
  fields: (t) => ({
    respond: t.exposeBoolean("respond", {
      description:
        "Whether you can respond to it: it is pending, and it is assigned to you or you may respond to any inquiry.",
    }),
    cancel: t.exposeBoolean("cancel", { description: "Whether you can cancel it." }),
  }),
});

/** A question to an identity or a role. */
export const Inquiry = builder.drizzleNode("inquiries", {
  name: "Inquiry",
  description: "A question to an identity or to the members of a role, responded to once.",
  id: { column: (inquiry) => inquiry.id },
  select: {
    columns: { id: true, status: true, executionId: true, assignedToId: true, assignedRole: true, timeoutAt: true },
  },
  fields: (t) => ({
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", { type: "DateTime", description: "When it last changed." }),
    prompt: t.exposeString("prompt", { description: "The question." }),
    responseSchema: t.expose("responseSchema", {
      type: "JSONObject",
      nullable: true,
      description: "The schema of the response, as a map of parameters; null if any JSON is accepted.",
    }),
    status: t.expose("status", { type: InquiryStatus, description: "The status." }),
    response: t.expose("response", {
      type: "JSON",
      nullable: true,
      description: "The response; after a timeout, the default response.",
    }),
    defaultResponse: t.expose("defaultResponse", {
      type: "JSON",
      nullable: true,
      description: "The response that is stored if the inquiry times out.",
    }),
    timeoutAt: t.expose("timeoutAt", {
      type: "DateTime",
      nullable: true,
      description: "When it times out; null if it has no timeout.",
    }),
    respondedAt: t.expose("respondedAt", {
      type: "DateTime",
      nullable: true,
      description: "When a response was given.",
    }),
    assignedRole: t.exposeString("assignedRole", {
      nullable: true,
      description: "The role whose members are asked to respond.",
    }),
    assignedTo: t.relation("assignedTo", { nullable: true, description: "The identity that is asked to respond." }),
    respondedBy: t.relation("respondedBy", { nullable: true, description: "The identity that responded." }),
    execution: t.relation("execution", {
      nullable: true,
      description: "The execution that created it; null if a user did.",
    }),
    viewerCan: t.field({
      type: InquiryActions,
      description: "What you can do with it now.",
      resolve: (inquiry, _args, { session }) => {
        const open = inquiry.status === "pending" && !(inquiry.timeoutAt && inquiry.timeoutAt.getTime() <= Date.now());
        const can = (allowed: typeof mayRespond) => open && session !== null && allowed(session, inquiry);
        return { respond: can(mayRespond), cancel: can(mayCancel) };
      },
    }),
  }),
});

/** Lists of inquiries: filters, orders and connection. */
export const inquiries = defineList("Inquiry", "inquiries", {
  ref: Inquiry,
  where: {
    id: byOwnId("Inquiry", "The inquiry itself."),
    status: byEnum(InquiryStatusFilter, "status", "The status."),
    execution: byId("Execution", "executionId", "The execution that created it."),
    assignedTo: byId("Identity", "assignedToId", "The identity that is asked to respond."),
    assignedRole: byText("assignedRole", "The role whose members are asked to respond."),
    respondedBy: byId("Identity", "respondedById", "The identity that responded."),
    prompt: byText("prompt", "The question."),
    timeoutAt: byTime("timeoutAt", "When it times out."),
    respondedAt: byTime("respondedAt", "When a response was given."),
    created: byTime("created", "When it was created."),
  },
  order: { created: "When it was created." },
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
  t.relatedConnection(
    "inquiries",
    inquiries.related("The inquiries that are assigned to it directly."),
    inquiries.connection,
  ),
);

builder.drizzleObjectField(Execution, "inquiries", (t) =>
  t.relatedConnection(
    "inquiries",
    inquiries.related("The inquiries that it created.", { usually: 5 }),
    inquiries.connection,
  ),
);

builder.objectField(Viewer, "myInquiries", (t) =>
  t.drizzleConnection(
    {
      type: Inquiry,
      description: "The inquiries that are assigned to you or to one of your roles, in any status.",
      args: inquiries.args,
      complexity: pageCost,
      totalCount: (viewer, args, ctx) => inquiries.count(args, ctx, assignedInquiries(viewer)),
      resolve: (query, viewer, args, ctx) =>
        ctx.db.query.inquiries.findMany(query(inquiries.page(args, ctx, assignedInquiries(viewer)))),
    },
    inquiries.connection,
  ),
);
