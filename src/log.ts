import { type DestinationStream, type Logger, pino, stdSerializers } from "pino";

export type Log = Logger;

/**
 * The process's logger: pretty on a terminal, JSON lines elsewhere (or to `destination`); credentials are redacted by path.
 */
export function createLog(
  { level, format }: { level: string; format: "pretty" | "json" },
  destination?: DestinationStream,
): Log {
  const options = {
    level,
    serializers: { err: describe },
    redact: ["authorization", "cookie", "token", "*.authorization", "*.cookie", "*.token", "*.password"],
  };
  if (destination) return pino(options, destination);
  const pretty = { target: "pino-pretty", options: { translateTime: "HH:MM:ss", ignore: "pid,hostname" } };
  return pino({ ...options, ...(format === "pretty" ? { transport: pretty } : {}) });
}

/** An error as it is logged. A failed statement's own text says enough: its parameters may be secrets, its stack repeats them. */
function describe(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (!("query" in error && "params" in error)) return stdSerializers.err(error);
  const { cause } = error;
  return { type: error.name, message: cause instanceof Error ? cause.message : String(cause), query: error.query };
}
