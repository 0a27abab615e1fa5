import type { GraphQLResolveInfo } from "graphql";
import { type ReadableChannel, readableChannels } from "../../db/channels.ts";
import type { Change } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addLive, describeLoaded, LiveMessage, loadWithBurst } from "../kit/live.ts";
import { defineLiveWhere, liveFields } from "../kit/live-where.ts";
import { loadNode } from "../kit/node.ts";
import { knownContent } from "../kit/references.ts";
import { addRootFields } from "../kit/root.ts";

/** The types of the API, by entity type of the log. */
const typenames: Readonly<Record<ReadableChannel, string>> = {
  execution: "Execution",
  event: "Event",
  enforcement: "Enforcement",
  inquiry: "Inquiry",
  worker: "Worker",
  rule: "Rule",
  action: "Action",
  trigger: "Trigger",
  sensor: "Sensor",
  policy: "Policy",
  pack: "Pack",
  runtime: "Runtime",
  workflow_definition: "WorkflowDefinition",
  permission_set: "PermissionSet",
  identity: "Identity",
  artifact: "Artifact",
  key: "Key",
  token: "ApiToken",
};

/** Returns the global id of an entry's object; null if the API has no such type. */
function idOf({ entityType, entityId }: { entityType: string; entityId: bigint }) {
  const known = readableChannels.find((name) => name === entityType);
  return known ? { type: typenames[known], id: entityId } : null;
}

/** Loads the object of an entry with the selected fields; null if it was deleted or the API has no such type. */
async function loadChanged(
  { entityType, entityId }: { entityType: string; entityId: bigint },
  _args: object,
  ctx: Context,
  info: GraphQLResolveInfo,
) {
  const id = idOf({ entityType, entityId });
  return id ? await loadNode({ typename: id.type, number: id.id }, ctx, info) : null;
}

const meanings = {
  channel: `The channel: ${readableChannels.join(", ")}.`,
  entityType: "The kind of object that changed.",
  entityId: "The id of the object that changed.",
  activity: "The kind of change: created, status, updated, deleted.",
  content:
    "The main data of the change: refs and statuses, never a secret. It names other objects only to those who may read all of their kind.",
  packRef: "The ref of the pack that it belongs to.",
  entity: "The object as it is now; null if it was deleted or the API has no type for it.",
} as const;

const Notification = builder.drizzleNode("notifications", {
  name: "Notification",
  description: "An entry in the log of all changes.",
  id: { column: (notification) => notification.id },
  select: { columns: { id: true, entityType: true, entityId: true } },
  fields: (t) => ({
    channel: t.exposeString("channel", { description: meanings.channel }),
    entityType: t.exposeString("entityType", { description: meanings.entityType }),
    entityId: t.globalID({ nullable: true, description: meanings.entityId, resolve: idOf }),
    activity: t.exposeString("activity", { description: meanings.activity }),
    content: t.field({
      type: "JSONObject",
      nullable: true,
      description: meanings.content,
      select: { columns: { content: true } },
      resolve: ({ content }, _args, { session }) => knownContent(session, content),
    }),
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

const NotificationCreatedMessage = builder.objectRef<Change>("NotificationCreatedMessage").implement({
  description: "An object changed.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    channel: t.exposeString("channel", { description: meanings.channel }),
    entityType: t.exposeString("entityType", { description: meanings.entityType }),
    entityId: t.globalID({ nullable: true, description: meanings.entityId, resolve: idOf }),
    activity: t.exposeString("activity", { description: meanings.activity }),
    content: t.field({
      type: "JSONObject",
      nullable: true,
      description: meanings.content,
      resolve: ({ content }, _args, { session }) => knownContent(session, content),
    }),
    packRef: t.exposeString("packRef", { nullable: true, description: meanings.packRef }),
    entity: t.field({
      type: builder.nodeInterfaceRef(),
      nullable: true,
      description: describeLoaded(meanings.entity),
      resolve: (change, _args, ctx, info) => loadWithBurst(change, (of) => idOf(of)?.type ?? null, ctx, info),
    }),
  }),
});

const { text } = liveFields();

addLive({
  subscription: "notificationCreated",
  type: NotificationCreatedMessage,
  where: defineLiveWhere("NotificationCreatedWhere", "Selects changes: all given conditions must hold.", {
    channel: null,
    fields: {
      channel: text(meanings.channel, (change) => change.channel),
      entityType: text(meanings.entityType, (change) => change.entityType),
      activity: text(meanings.activity, (change) => change.activity),
      pack: text(meanings.packRef, (change) => change.packRef),
    },
  }),
  which: "The changes to follow",
  description: "Every change, each exactly once and in order per object.",
});
