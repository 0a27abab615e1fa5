import { type Logger, pino, stdSerializers } from "pino";

export type Log = Logger;

/** The process's logger: pretty on a terminal, JSON lines elsewhere; credentials are redacted by path. */
export function createLog(options: { level: string; format: "pretty" | "json" }): Log {
  return pino({
    level: options.level,
    serializers: { err: describe },
    redact: ["authorization", "cookie", "token", "*.authorization", "*.cookie", "*.token", "*.password"],
    ...(options.format === "pretty"
      ? { transport: { target: "pino-pretty", options: { translateTime: "HH:MM:ss", ignore: "pid,hostname" } } }
      : {}),
  });
}

/** An error as it is logged. A failed statement's own text says enough: its parameters may be secrets, its stack repeats them. */
function describe(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (!("query" in error && "params" in error)) return stdSerializers.err(error);
  const { cause } = error;
  return { type: error.name, message: cause instanceof Error ? cause.message : String(cause), query: error.query };
}
