import { z } from "zod";
import { enforcementStatus, executionStatus, inquiryStatus, workerStatus } from "./schema.ts";

const text = z.string();
/** An id as decimal text, because JSON numbers lose digits. */
const id = z.string().regex(/^\d+$/);
/** A point in time as PostgreSQL writes it into JSON. */
const instant = z.iso.datetime({ offset: true });

const status = { execution: z.enum(executionStatus.enumValues), inquiry: z.enum(inquiryStatus.enumValues) };

type Activity = "created" | "status" | "updated" | "deleted";

/** The format of the entries of one channel. */
interface Contract {
  /** The fields of `content`; null: entries have no content, and no session may read them. */
  content: z.ZodObject | null;
  /** The field that the constraints `refs` and `except_refs` of a grant compare; null: none. */
  ref: string | null;
  /** The field with the id of the identity that the constraint `owner` compares; null: none. */
  owner: string | null;
  /** Whether the entry's column `pack_ref` holds the pack that the constraint `pack_refs` compares. It is null otherwise. */
  pack: boolean;
  activities: readonly Activity[];
}

const steps = ["created", "status", "deleted"] as const;
const named = z.strictObject({ ref: text });
const switchable = z.strictObject({ ref: text, enabled: z.boolean() });
const edits = ["created", "updated", "deleted"] as const;
/** How far the tests of a pack are: one of its runners, or, without a name, the whole run, which is stored when it has ended. */
const testProgress = z.strictObject({
  execution: id.nullable(),
  run: id.nullable(),
  runner: text.nullable(),
  status: z.enum(["running", "passed", "failed"]),
  total: z.int(),
  passed: z.int(),
  failed: z.int(),
  skipped: z.int(),
  durationMs: z.int(),
});

/**
 * The contract of the notification log, by channel; nearly all are named after a table. Database triggers write the log; `tests/db/channels.test.ts` fires each of them and
 * compares its entries with this table. Readers derive their types from it. An entry's `entity_type` is the name of its channel, except
 * in `access`, where it is the name of the changed table.
 */
export const channels = {
  execution: {
    content: z.strictObject({
      actionRef: text,
      fromStatus: status.execution.nullable(),
      toStatus: status.execution,
      reason: text.nullable(),
      attempt: z.int(),
      action: id.nullable(),
      parent: id.nullable(),
      root: id.nullable(),
      enforcement: id.nullable(),
      executor: id.nullable(),
      worker: id.nullable(),
      ruleRef: text.nullable(),
      triggerRef: text.nullable(),
      traceTag: text,
      createdAt: instant,
    }),
    ref: "actionRef",
    owner: "executor",
    pack: true,
    activities: steps,
  },
  event: {
    content: z.strictObject({ triggerRef: text, traceTag: text, sourceRef: text.nullable() }),
    ref: "triggerRef",
    owner: null,
    pack: true,
    activities: edits,
  },
  enforcement: {
    content: z.strictObject({
      ruleRef: text,
      triggerRef: text,
      status: z.enum(enforcementStatus.enumValues),
      event: id.nullable(),
    }),
    ref: "ruleRef",
    owner: null,
    pack: true,
    activities: steps,
  },
  inquiry: {
    content: z.strictObject({
      fromStatus: status.inquiry.nullable(),
      toStatus: status.inquiry,
      execution: id.nullable(),
      actionRef: text.nullable(),
      executor: id.nullable(),
      assignedTo: id.nullable(),
      assignedRole: text.nullable(),
      timeoutAt: instant.nullable(),
      createdAt: instant,
    }),
    ref: "actionRef",
    owner: "assignedTo",
    pack: true,
    activities: steps,
  },
  worker: {
    content: z.strictObject({
      name: text,
      status: z.enum(workerStatus.enumValues).nullable(),
      cordoned: z.boolean(),
    }),
    ref: "name",
    owner: null,
    pack: false,
    activities: steps,
  },
  rule: { content: switchable, ref: "ref", owner: null, pack: true, activities: edits },
  action: { content: switchable, ref: "ref", owner: null, pack: true, activities: edits },
  trigger: { content: switchable, ref: "ref", owner: null, pack: true, activities: edits },
  sensor: { content: switchable, ref: "ref", owner: null, pack: true, activities: edits },
  policy: { content: switchable, ref: "ref", owner: null, pack: true, activities: edits },
  /** Its activity `status` is the progress of its tests. */
  pack: {
    content: named.extend({ test: testProgress.optional() }),
    ref: "ref",
    owner: null,
    pack: true,
    activities: [...edits, "status"],
  },
  runtime: { content: named, ref: "ref", owner: null, pack: true, activities: edits },
  workflow_definition: { content: named, ref: "ref", owner: null, pack: true, activities: edits },
  permission_set: { content: named, ref: "ref", owner: null, pack: true, activities: edits },
  /** Its ref is the login. */
  identity: { content: named, ref: "ref", owner: null, pack: false, activities: edits },
  key: { content: named, ref: "ref", owner: null, pack: false, activities: edits },
  artifact: { content: named, ref: "ref", owner: null, pack: false, activities: edits },
  token: { content: z.strictObject({ kind: text }), ref: null, owner: null, pack: false, activities: edits },
  /** A change to what sessions may do: every process looks its sessions up again. */
  access: { content: null, ref: null, owner: null, pack: false, activities: edits },
} as const satisfies Readonly<Record<string, Contract>>;

export type Channel = keyof typeof channels;

/** The channels whose entries sessions with a grant may read. */
export type ReadableChannel = Exclude<Channel, "access">;

/** The type of `content` in the entries of a channel. */
export type ChannelContent<C extends Channel> = (typeof channels)[C]["content"] extends z.ZodType<infer T> ? T : null;

/** An entry of the notification log; its channel determines the type of its content. */
export type NotificationEntry<C extends Channel = Channel> = {
  [K in C]: { channel: K; entityType: string; activity: Activity; content: ChannelContent<K>; packRef: string | null };
}[C];

export const readableChannels: readonly ReadableChannel[] = (Object.keys(channels) as Channel[]).filter(
  (channel) => channel !== "access",
);

/** The values of an entry that the constraints of grants compare. */
export interface Grounds {
  channel: ReadableChannel;
  ref: string | null;
  packRef: string | null;
  ownerId: bigint | null;
}

/** Returns the values of an entry that grants compare; null: no session may read it. */
export function groundsOf({ channel, content, packRef }: NotificationEntry): Grounds | null {
  // A later version that runs beside this one may write unknown channels.
  const contract: Contract | undefined = channels[channel];
  if (!contract?.content) return null;
  const fields = content as Readonly<Record<string, unknown>>; // by its channel, which has fields
  const read = (name: string | null) => {
    const value = name === null ? null : fields[name];
    return typeof value === "string" ? value : null;
  };
  const owner = read(contract.owner);
  return {
    channel: channel as ReadableChannel, // it has content
    ref: read(contract.ref),
    packRef,
    ownerId: owner === null ? null : BigInt(owner),
  };
}
