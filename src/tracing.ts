import type { Attributes } from "@opentelemetry/api";
import type { TraceContext } from "./lib/trace.ts";
import type { Log } from "./log.ts";

/** A span that has ended. */
export interface EndedSpan {
  name: string;
  kind: "server" | "producer" | "internal" | "consumer";
  context: TraceContext;
  /** The context that it is below; null: it begins the trace. */
  parent: TraceContext | null;
  /** When it began and ended, in milliseconds since 1970. */
  from: number;
  to: number;
  attributes: Attributes;
  /** What failed; null or missing: nothing. */
  error?: string | null;
}

/** Records spans and exports them in the background. */
export interface Tracing extends AsyncDisposable {
  /** Records a span, if its trace is sampled. Never throws, never waits. */
  record(span: EndedSpan): void;
}

/** Where spans are exported to, and as whose. */
export interface TracingOptions {
  url: string;
  service: string;
  version: string;
}

/** How long a stop waits for the last export, in milliseconds. */
const flushMs = 2000;

/**
 * Starts the export of spans by OTLP over HTTP. What the endpoint does not take in time is dropped. The packages are loaded here, so that a
 * process without an endpoint has none of them. The exporter reads its other settings, such as headers, from the standard's variables.
 */
export async function startTracing({ url, service, version }: TracingOptions, log: Log): Promise<Tracing> {
  const [api, sdk, { OTLPTraceExporter }, { defaultResource, resourceFromAttributes }] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
  ]);
  // Spans are recorded when they end, with ids that other processes may know already.
  let next: TraceContext = { traceId: "", spanId: "", sampled: true };
  const provider = new sdk.TracerProvider({
    resource: defaultResource().merge(
      resourceFromAttributes({
        "service.name": service,
        "service.version": version,
        "process.pid": process.pid,
      }),
    ),
    idGenerator: { generateTraceId: () => next.traceId, generateSpanId: () => next.spanId },
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter: new OTLPTraceExporter({ url, timeoutMillis: 5000 }),
        scheduledDelayMillis: 1000,
      }),
    ],
  });
  api.diag.setLogger({
    ...{ debug: () => {}, verbose: () => {}, info: () => {} },
    warn: (message) => log.warn({ reason: message }, "traces"),
    error: (message) => log.warn({ reason: message }, "traces could not be exported"),
  });
  const tracer = provider.getTracer("attune", version);
  const kinds = {
    server: api.SpanKind.SERVER,
    producer: api.SpanKind.PRODUCER,
    internal: api.SpanKind.INTERNAL,
    consumer: api.SpanKind.CONSUMER,
  };
  return {
    record: ({ name, kind, context, parent, from, to, attributes, error = null }) => {
      if (!context.sampled) return;
      next = context;
      const above =
        parent === null
          ? api.ROOT_CONTEXT
          : api.trace.setSpanContext(api.ROOT_CONTEXT, {
              traceId: parent.traceId,
              spanId: parent.spanId,
              traceFlags: api.TraceFlags.SAMPLED,
              isRemote: true,
            });
      const span = tracer.startSpan(name, { kind: kinds[kind], startTime: from, attributes }, above);
      if (error !== null) span.setStatus({ code: api.SpanStatusCode.ERROR, message: error });
      span.end(to);
    },
    [Symbol.asyncDispose]: async () => {
      const limit = new Promise((resolve) => setTimeout(resolve, flushMs).unref());
      await Promise.race([provider.shutdown().catch(() => {}), limit]);
    },
  };
}
