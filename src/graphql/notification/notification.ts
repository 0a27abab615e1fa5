import type { GraphQLResolveInfo } from "graphql";
import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { NotificationState } from "../kit/enums.ts";
import { byText, byTime } from "../kit/filter.ts";
import { StringFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addLive, atItsPrice, defineLiveWhere, LiveMessage } from "../kit/live.ts";
import { loadNode } from "../kit/node.ts";
import { addRootFields } from "../kit/root.ts";

/** The types of what the log tells of, by what it calls them. */
const typenames: Readonly<Record<string, string>> = {
  execution: "Execution",
  event: "Event",
  enforcement: "Enforcement",
  inquiry: "Inquiry",
  worker: "Worker",
  rule: "Rule",
  pack: "Pack",
  artifact: "Artifact",
  key: "Key",
  token: "ApiToken",
};

/** The object that an entry is about, with what is selected of it; null when it is gone or the API has no such type. */
async function loadChanged(
  { entityType, entityId }: { entityType: string; entityId: bigint },
  _args: object,
  ctx: Context,
  info: GraphQLResolveInfo,
) {
  const typename = typenames[entityType];
  if (!typename || !info.schema.getType(typename)) return null;
  return await loadNode({ typename, number: entityId }, ctx, info);
}

const meanings = {
  channel: "What it is about, as a subject: execution, event, enforcement, worker, rule, pack, key, token.",
  entityType: "The kind of object that changed.",
  activity: "What happened to it: created, status, updated, deleted.",
  content: "What there is to say, without reading the object: refs, statuses, never a secret.",
  packRef: "The ref of the pack that it belongs to.",
  entity: "The object as it is now; null when it is gone or has no type of its own.",
} as const;

const Notification = builder.drizzleNode("notifications", {
  name: "Notification",
  description: "An entry in the log of everything that changes.",
  id: { column: (notification) => notification.id },
  select: { columns: { id: true, entityType: true, entityId: true } },
  fields: (t) => ({
    channel: t.exposeString("channel", { description: meanings.channel }),
    entityType: t.exposeString("entityType", { description: meanings.entityType }),
    activity: t.exposeString("activity", { description: meanings.activity }),
    state: t.expose("state", { type: NotificationState, description: "How far it is in being handed on." }),
    content: t.expose("content", { type: "JSONObject", nullable: true, description: meanings.content }),
    packRef: t.exposeString("packRef", { nullable: true, description: meanings.packRef }),
    created: t.expose("created", { type: "DateTime", description: "When it was written." }),
    entity: t.field({
      type: builder.nodeInterfaceRef(),
      nullable: true,
      description: meanings.entity,
      resolve: loadChanged,
    }),
  }),
});

const notifications = defineList("Notification", "notifications", {
  ref: Notification,
  where: {
    channel: byText("channel", meanings.channel),
    entityType: byText("entityType", meanings.entityType),
    activity: byText("activity", meanings.activity),
    pack: byText("packRef", meanings.packRef),
    created: byTime("created", "When it was written."),
  },
  order: { created: "When it was written." },
  defaultOrder: ["created", "desc"],
});

addRootFields({
  table: "notifications",
  name: "Notification",
  one: "notification",
  many: "notifications",
  ref: Notification,
  list: notifications,
  hasRef: false,
});

const NotificationMessage = builder.objectRef<Change>("NotificationMessage").implement({
  description: "Something changed.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    channel: t.exposeString("channel", { description: meanings.channel }),
    entityType: t.exposeString("entityType", { description: meanings.entityType }),
    activity: t.exposeString("activity", { description: meanings.activity }),
    content: t.expose("content", { type: "JSONObject", nullable: true, description: meanings.content }),
    packRef: t.exposeString("packRef", { nullable: true, description: meanings.packRef }),
    entity: t.field({
      type: builder.nodeInterfaceRef(),
      nullable: true,
      description: atItsPrice(meanings.entity),
      resolve: loadChanged,
    }),
  }),
});

addLive({
  subscription: "notifications",
  query: "notificationMessages",
  type: NotificationMessage,
  where: defineLiveWhere("NotificationMessageWhere", "Which changes are followed: all that is given must hold.", {
    channel: null,
    fields: {
      channel: { type: StringFilter, description: meanings.channel, read: (change) => change.channel },
      entityType: { type: StringFilter, description: meanings.entityType, read: (change) => change.entityType },
      activity: { type: StringFilter, description: meanings.activity, read: (change) => change.activity },
      pack: { type: StringFilter, description: meanings.packRef, read: (change) => change.packRef },
    },
  }),
  which: "Which changes",
  description: "Everything that changes, each change exactly once and those of one object in order.",
});
