import { builder } from "./builder.ts";
import type { Context } from "./context.ts";
import { LogStream } from "./enums.ts";
import { LiveMessage } from "./live.ts";
import { addSequence } from "./sequence.ts";

/** A stored entry of a log. */
interface Stored {
  seq: bigint;
  stream: "stdout" | "stderr" | "system";
  at: Date;
  text: string;
}

/** A log of the objects of one type. */
interface Log {
  subscription: "executionLog" | "sensorLog";
  /** The name of the type of its messages. */
  message: "ExecutionLogMessage" | "SensorLogMessage";
  of: "Execution" | "Sensor";
  descriptions: { message: string; seq: string; subscription: string };
  /** Throws NotFoundError unless the session may read the object. */
  requireReadable(ctx: Context, id: bigint): Promise<void>;
  follow(ctx: Context, id: bigint, after: bigint, signal: AbortSignal): AsyncGenerator<Stored, void>;
  read(ctx: Context, id: bigint, page: { after: bigint; limit: number }): Promise<Stored[]>;
}

/** Adds the subscription of a log, and the query that polls its messages. */
export function addLog({ message, descriptions, ...log }: Log): void {
  const type = builder.objectRef<Stored & { cursor: string }>(message).implement({
    description: descriptions.message,
    interfaces: [LiveMessage],
    fields: (t) => ({
      seq: t.expose("seq", { type: "BigInt", description: descriptions.seq }),
      stream: t.expose("stream", { type: LogStream, description: "The source of the output." }),
      text: t.exposeString("text", { description: "The text; it may contain several lines or part of one." }),
    }),
  });
  addSequence({
    ...{ ...log, type },
    noun: `${log.of === "Execution" ? "an execution" : "a sensor"}'s log`,
    descriptions: {
      subscription: descriptions.subscription,
      id: `The ${log.of.toLowerCase()}'s id.`,
      after: "The cursor to begin after; by default the messages begin with the first chunk.",
    },
  });
}
