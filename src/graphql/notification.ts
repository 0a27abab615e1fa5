import type { Change } from "../notifier/page.ts";
import { builder, defaultPageSize } from "./builder.ts";
import { changeFilter } from "./change-filter.ts";
import { NotificationState } from "./enums.ts";
import { byText, byTime } from "./filter.ts";
import { StringFilter } from "./filter-inputs.ts";
import { defineList } from "./list.ts";
import { loadNode } from "./node.ts";
import { checkPage } from "./page.ts";
import { addRootFields } from "./root.ts";
import { followChanges, replayChanges, unwrap } from "./stream.ts";

/** The types that can be looked up, by what the log calls them. */
const typenames: Readonly<Record<string, string>> = {
  execution: "Execution",
  event: "Event",
  enforcement: "Enforcement",
  worker: "Worker",
  rule: "Rule",
  pack: "Pack",
};

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
      resolve: ({ entityType, entityId }, _args, ctx, info) => {
        const typename = typenames[entityType];
        return typename ? loadNode({ typename, number: entityId }, ctx, info) : null;
      },
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
  fields: (t) => ({
    cursor: t.expose("cursor", {
      type: "Cursor",
      description: "Give it as `after` to go on right behind this message.",
    }),
    occurredAt: t.expose("at", { type: "DateTime", description: "When it happened." }),
    channel: t.exposeString("channel", { description: meanings.channel }),
    entityType: t.exposeString("entityType", { description: meanings.entityType }),
    activity: t.exposeString("activity", { description: meanings.activity }),
    content: t.expose("content", { type: "JSONObject", nullable: true, description: meanings.content }),
    packRef: t.exposeString("packRef", { nullable: true, description: meanings.packRef }),
    entity: t.field({
      type: builder.nodeInterfaceRef(),
      nullable: true,
      description: `${meanings.entity} In a subscription this costs one SQL statement per message and subscriber; the other fields cost none.`,
      resolve: ({ entityType, entityId }, _args, ctx, info) => {
        const typename = typenames[entityType];
        return typename ? loadNode({ typename, number: entityId }, ctx, info) : null;
      },
    }),
  }),
});

const liveFields = {
  channel: { read: (change: Change) => change.channel },
  entityType: { read: (change: Change) => change.entityType },
  activity: { read: (change: Change) => change.activity },
  pack: { read: (change: Change) => change.packRef },
};

const NotificationMessageWhere = builder.inputRef<Record<string, unknown>>("NotificationMessageWhere").implement({
  description: "Which changes are followed: all that is given must hold.",
  fields: (t) => ({
    channel: t.field({ type: StringFilter, description: meanings.channel }),
    entityType: t.field({ type: StringFilter, description: meanings.entityType }),
    activity: t.field({ type: StringFilter, description: meanings.activity }),
    pack: t.field({ type: StringFilter, description: meanings.packRef }),
  }),
});

const whereArg = { type: NotificationMessageWhere, description: "Which changes; all when left out." } as const;

builder.subscriptionField("notifications", (t) =>
  t.field({
    type: NotificationMessage,
    nullable: true,
    description:
      "Everything that changes, each change exactly once and those of one object in order. `notificationMessages` polls the same.",
    args: {
      where: t.arg(whereArg),
      after: t.arg({
        type: "Cursor",
        description:
          "Begin right behind this cursor, with what is stored, then live; left out: begin with what comes next.",
      }),
    },
    subscribe: (_root, { where, after }, ctx) => followChanges(ctx, changeFilter(null, liveFields, where), after),
    resolve: (message) => unwrap(message),
  }),
);

builder.queryField("notificationMessages", (t) =>
  t.field({
    type: [NotificationMessage],
    nullable: true,
    description: "What the subscription `notifications` would send after a cursor: the same messages, by polling.",
    args: {
      where: t.arg(whereArg),
      after: t.arg({ type: "Cursor", description: "Begin right behind this cursor; left out: with the oldest kept." }),
      first: t.arg.int({ description: "How many at most: 50 unless said otherwise, at most 100." }),
    },
    complexity: ({ first }) => ({ field: 1, multiplier: Math.max(1, first ?? defaultPageSize) }),
    resolve: (_root, { where, after, first }, ctx) => {
      checkPage({ first }, []);
      return replayChanges(ctx, changeFilter(null, liveFields, where), after, first ?? defaultPageSize);
    },
  }),
);
