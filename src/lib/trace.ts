import { AsyncLocalStorage } from "node:async_hooks";
import { createHash, randomBytes } from "node:crypto";

/** The position in a distributed trace: https://www.w3.org/TR/trace-context/. */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  traceId: string;
  /** 16 hexadecimal digits. */
  spanId: string;
  /** Whether its spans are recorded. */
  sampled: boolean;
}

const format = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Returns the context that a `traceparent` header has; null for one that is not valid, which the standard says to ignore. */
export function parseTraceparent(text: string | null | undefined): TraceContext | null {
  const [, version, traceId = "", spanId = "", flags = "", more] = format.exec(text ?? "") ?? [];
  if (version === undefined || version === "ff" || (version === "00" && more !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** Returns the header for the context. */
export function formatTraceparent({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
}

/** Returns a context below the parent, or of a new trace. */
export function newContext(parent: TraceContext | null): TraceContext {
  const spanId = randomBytes(8).toString("hex");
  return parent === null ? { traceId: randomBytes(16).toString("hex"), spanId, sampled: true } : { ...parent, spanId };
}

/** Returns the context of an attempt of an execution, which every process computes alike. */
export function attemptContext(parent: TraceContext, { id, attempt }: { id: string; attempt: number }): TraceContext {
  const hash = createHash("sha256").update(`${parent.traceId}/${id}/${attempt}`).digest("hex");
  return { ...parent, spanId: hash.slice(0, 16) };
}

const contexts = new AsyncLocalStorage<TraceContext>();

/** Runs `work` as part of a trace. */
export const inTrace = <T>(context: TraceContext, work: () => T): T => contexts.run(context, work);

/** Returns the context of the request that is being handled; null outside of a trace. */
export const currentTrace = (): TraceContext | null => contexts.getStore() ?? null;
