import type { inquiryStatus } from "../../db/schema.ts";
import type { Change } from "../../notifier/page.ts";
import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { InquiryStatus } from "../kit/enums.ts";
import { DateTimeFilter, IDFilter, InquiryStatusFilter, StringFilter } from "../kit/filter-inputs.ts";
import { addLive, atItsPrice, defineLiveWhere, LiveMessage, loadEntity, telling } from "../kit/live.ts";
import { Inquiry } from "./inquiry.ts";

type Status = (typeof inquiryStatus.enumValues)[number];

/** What the database writes into `content` for each step of an inquiry (the function `inquiry_notify`). */
interface InquiryContent {
  fromStatus: Status | null;
  toStatus: Status;
  execution: string | null;
  actionRef: string | null;
  assignedTo: string | null;
  assignedRole: string | null;
  timeoutAt: string | null;
}

const stepOf = ({ content }: Change) => (content ?? {}) as unknown as InquiryContent; // the boundary to what the database wrote

const InquiryChange = builder.objectRef<Change>("InquiryChange").implement({
  description: "An inquiry was asked, or has ended.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    inquiryId: t.globalID({
      description: "The inquiry's id.",
      resolve: ({ entityId }) => ({ type: Inquiry, id: entityId }),
    }),
    executionId: t.globalID({
      nullable: true,
      description: "The id of the execution that asked; null when a person did.",
      resolve: (change) => {
        const { execution } = stepOf(change);
        return execution === null ? null : { type: Execution, id: execution };
      },
    }),
    actionRef: t.string({
      nullable: true,
      description: "The ref of that execution's action.",
      resolve: (change) => stepOf(change).actionRef,
    }),
    fromStatus: t.field({
      type: InquiryStatus,
      nullable: true,
      description: "The status before; null at the beginning.",
      resolve: (change) => stepOf(change).fromStatus,
    }),
    toStatus: t.field({
      type: InquiryStatus,
      description: "The status since.",
      resolve: (change) => stepOf(change).toStatus,
    }),
    assignedToId: t.globalID({
      nullable: true,
      description: "The id of the identity that is to answer.",
      resolve: (change) => {
        const { assignedTo } = stepOf(change);
        return assignedTo === null ? null : { type: "Identity", id: assignedTo };
      },
    }),
    assignedRole: t.string({
      nullable: true,
      description: "The role whose holders are to answer.",
      resolve: (change) => stepOf(change).assignedRole,
    }),
    timeoutAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "Until when it can be answered.",
      resolve: (change) => {
        const { timeoutAt } = stepOf(change);
        return timeoutAt === null ? null : new Date(timeoutAt);
      },
    }),
    inquiry: t.field({
      type: Inquiry,
      nullable: true,
      description: atItsPrice("The inquiry as it is now."),
      resolve: loadEntity<typeof Inquiry.$inferType>("Inquiry"),
    }),
  }),
});

addLive({
  subscription: "inquiryChanged",
  query: "inquiryChanges",
  type: InquiryChange,
  where: defineLiveWhere(
    "InquiryChangeWhere",
    "Which inquiries are followed: all that is given must hold. Each but `status` never changes after creation.",
    {
      channel: "inquiry",
      fields: {
        id: {
          type: IDFilter,
          description: "The inquiry itself.",
          read: (change) => String(change.entityId),
          typename: "Inquiry",
        },
        execution: {
          type: IDFilter,
          description: "The execution that asked.",
          read: telling("execution"),
          typename: "Execution",
        },
        action: { type: StringFilter, description: "The ref of that execution's action.", read: telling("actionRef") },
        pack: { type: StringFilter, description: "The ref of that action's pack.", read: (change) => change.packRef },
        executor: {
          type: IDFilter,
          description: "Who asked for that execution.",
          read: telling("executor"),
          typename: "Identity",
        },
        assignedTo: {
          type: IDFilter,
          description: "Who is to answer.",
          read: telling("assignedTo"),
          typename: "Identity",
        },
        assignedRole: {
          type: StringFilter,
          description: "The role whose holders are to answer.",
          read: telling("assignedRole"),
        },
        created: { type: DateTimeFilter, description: "When it was asked.", read: telling("createdAt") },
        status: { type: InquiryStatusFilter, description: "The status that it moved to.", read: telling("toStatus") },
      },
    },
  ),
  which: "Which inquiries",
  description: "Every inquiry as it is asked and as it ends, each step exactly once and each inquiry's in order.",
});
