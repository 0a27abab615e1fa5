import { may, targetOf } from "../../access/grants.ts";
import type { Session } from "../../access/session.ts";
import type { Change } from "../../notifier/page.ts";
import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { InquiryStatus } from "../kit/enums.ts";
import { InquiryStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, describeLoaded, LiveMessage, loadEntity } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { mayKnowReference } from "../kit/references.ts";
import { Inquiry } from "./inquiry.ts";

/** Whether the session may read the execution that created the inquiry, which is its own or one that its grants allow. */
function mayReadAsking(session: Session, { execution, actionRef, executor }: Change<"inquiry">["content"]): boolean {
  if (execution === null) return false;
  if (session.executionId !== null && String(session.executionId) === execution) return true;
  const target = targetOf(actionRef ?? "", executor === null ? null : BigInt(executor));
  return may(session, "execution", "read", target);
}

const InquiryChangedMessage = builder.objectRef<Change<"inquiry">>("InquiryChangedMessage").implement({
  description: "An inquiry was created, ended or was deleted.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    inquiryId: t.globalID({
      description: "The inquiry's id.",
      resolve: ({ entityId }) => ({ type: Inquiry, id: entityId }),
    }),
    executionId: t.globalID({
      nullable: true,
      description: "The id of the execution that created it; null if a user did, or you may not read it.",
      resolve: ({ content }, _args, { session }) =>
        session !== null && mayReadAsking(session, content) ? { type: Execution, id: content.execution ?? "" } : null,
    }),
    actionRef: t.string({
      nullable: true,
      description: "The ref of that execution's action.",
      resolve: ({ content }) => content.actionRef,
    }),
    fromStatus: t.field({
      type: InquiryStatus,
      nullable: true,
      description: "The previous status; null at creation.",
      resolve: ({ content }) => content.fromStatus,
    }),
    toStatus: t.field({
      type: InquiryStatus,
      description: "The new status.",
      resolve: ({ content }) => content.toStatus,
    }),
    assignedToId: t.globalID({
      nullable: true,
      description:
        "The id of the identity that it is assigned to; null unless it is yours, or you may read every identity.",
      resolve: ({ content: { assignedTo } }, _args, { session }) =>
        assignedTo !== null && mayKnowReference(session, "Identity", assignedTo)
          ? { type: "Identity", id: assignedTo }
          : null,
    }),
    assignedRole: t.string({
      nullable: true,
      description: "The role that it is assigned to.",
      resolve: ({ content }) => content.assignedRole,
    }),
    timeoutAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "When it times out.",
      resolve: ({ content }) => (content.timeoutAt === null ? null : new Date(content.timeoutAt)),
    }),
    deleted: t.boolean({
      description: "Whether the inquiry was deleted; the message has its last state.",
      resolve: ({ activity }) => activity === "deleted",
    }),
    inquiry: t.field({
      type: Inquiry,
      nullable: true,
      description: describeLoaded("The inquiry as it is now."),
      resolve: loadEntity<typeof Inquiry.$inferType>("Inquiry"),
    }),
  }),
});

const { id, text, time, choice } = liveFields<"inquiry">();

addLive({
  subscription: "inquiryChanged",
  type: InquiryChangedMessage,
  where: defineLiveWhere(
    "InquiryChangedWhere",
    "Selects inquiries: all given conditions must hold. All fields except `status` never change after creation.",
    {
      channel: "inquiry",
      fields: {
        id: id("Inquiry", "The inquiry itself.", (change) => change.entityId),
        execution: id("Execution", "The execution that created it.", ({ content }) => content.execution),
        action: text("The ref of that execution's action.", ({ content }) => content.actionRef),
        pack: text("The ref of that action's pack.", (change) => change.packRef),
        executor: id("Identity", "The identity that requested that execution.", ({ content }) => content.executor),
        assignedTo: id("Identity", "The identity that it is assigned to.", ({ content }) => content.assignedTo),
        assignedRole: text("The role that it is assigned to.", ({ content }) => content.assignedRole),
        created: time("When it was created.", ({ content }) => content.createdAt),
        status: choice(InquiryStatusFilter, "The new status.", ({ content }) => content.toStatus),
      },
    },
  ),
  which: "The inquiries to follow",
  description:
    "Every inquiry when it is created, when it ends and when it is deleted, each exactly once and in order per inquiry.",
});
