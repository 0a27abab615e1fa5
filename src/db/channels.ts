import { z } from "zod";
import { enforcementStatus, executionStatus, inquiryStatus, workerStatus } from "./schema.ts";

const text = z.string();
/** An id as decimal text, because JSON numbers lose digits. */
const id = z.string().regex(/^\d+$/);
/** A point in time as PostgreSQL writes it into JSON. */
const instant = z.iso.datetime({ offset: true });

const status = { execution: z.enum(executionStatus.enumValues), inquiry: z.enum(inquiryStatus.enumValues) };

type Activity = "created" | "status" | "updated" | "deleted";

/** What the entries of one channel look like. */
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

const steps = ["created", "status"] as const;
const edits = ["created", "updated", "deleted"] as const;

/**
 * The contract of the notification log, by channel. Triggers write the log; `tests/db/channels.test.ts` provokes each of them and
 * compares what they wrote with this table. Readers take their types from here. An entry's `entity_type` is the name of its channel,
 * except in `access`, where it is the name of the table that changed.
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
    activities: ["created"],
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
  rule: {
    content: z.strictObject({ ref: text, enabled: z.boolean() }),
    ref: "ref",
    owner: null,
    pack: true,
    activities: edits,
  },
  pack: { content: z.strictObject({ ref: text }), ref: "ref", owner: null, pack: true, activities: edits },
  key: { content: z.strictObject({ ref: text }), ref: "ref", owner: null, pack: false, activities: edits },
  artifact: { content: z.strictObject({ ref: text }), ref: "ref", owner: null, pack: false, activities: edits },
  token: { content: z.strictObject({ kind: text }), ref: null, owner: null, pack: false, activities: edits },
  /** A change to what sessions may do: every process looks its sessions up again. */
  access: { content: null, ref: null, owner: null, pack: false, activities: edits },
} as const satisfies Readonly<Record<string, Contract>>;

export type Channel = keyof typeof channels;

/** The channels whose entries sessions may read, if a grant says so. */
export type ReadableChannel = Exclude<Channel, "access">;

/** What `content` holds in the entries of a channel. */
export type Content<C extends Channel> = (typeof channels)[C]["content"] extends z.ZodType<infer T> ? T : null;

/** What an entry of the log says; its channel decides the type of its content. */
export type LogEntry<C extends Channel = Channel> = {
  [K in C]: { channel: K; entityType: string; activity: Activity; content: Content<K>; packRef: string | null };
}[C];

export const readableChannels: readonly ReadableChannel[] = (Object.keys(channels) as Channel[]).filter(
  (channel) => channel !== "access",
);

/** What the constraints of grants compare in an entry. */
export interface Grounds {
  channel: ReadableChannel;
  ref: string | null;
  packRef: string | null;
  ownerId: bigint | null;
}

/** Reads what grants compare in an entry; null: no session may read it. */
export function groundsOf({ channel, content, packRef }: LogEntry): Grounds | null {
  // A later version, running beside this one, may write channels that this one does not know.
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
