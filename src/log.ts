import { existsSync, readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type DestinationStream, type Logger, pino, stdSerializers } from "pino";

export type Log = Logger;

/**
 * The process's logger: pretty on a terminal, JSON lines elsewhere (or to `destination`); credentials are redacted by path.
 */
export function createLog(
  { level, format }: { level: string; format: "pretty" | "json" },
  destination?: DestinationStream,
): Log {
  const sourceStack = createSourceStack();
  const options = {
    level,
    serializers: { err: (error: unknown) => describe(error, sourceStack) },
    redact: ["authorization", "cookie", "token", "*.authorization", "*.cookie", "*.token", "*.password"],
  };
  if (destination) return pino(options, destination);
  const pretty = { target: "pino-pretty", options: { translateTime: "HH:MM:ss", ignore: "pid,hostname" } };
  return pino({ ...options, ...(format === "pretty" ? { transport: pretty } : {}) });
}

/** An error as it is logged. A failed statement's own text says enough: its parameters may be secrets, its stack repeats them. */
function describe(error: unknown, sourceStack: (stack: string) => string): unknown {
  if (!(error instanceof Error)) return error;
  if (!("query" in error && "params" in error)) {
    const described = stdSerializers.err(error);
    return { ...described, stack: sourceStack(described.stack) };
  }
  const { cause } = error;
  return { type: error.name, message: cause instanceof Error ? cause.message : String(cause), query: error.query };
}

/** A place of a module in a line of a stack. */
const place = /(file:\/\/\/[^\s()]+?|\/[^\s():]+):(\d+):(\d+)/g;
const mostKnown = 1000;

/**
 * Returns a function that puts the places of the sources into the text of a stack, instead of those of the bundle, as far as its source maps are there.
 * Node.js does so by itself only for modules that are loaded after it was asked to, at the price of a later start and 30 MB.
 */
export function createSourceStack(): (stack: string) => string {
  /** Places that were looked up before: reading a map may take 50 ms. */
  const known = new Map<string, string>();
  return (stack) => {
    const maps = new Map<string, SourceMap | null>();
    return stack.replaceAll(place, (found: string, module: string, line: string, column: string) => {
      const source = known.get(found) ?? find(maps, module, Number(line), Number(column)) ?? found;
      if (known.size < mostKnown) known.set(found, source);
      return source;
    });
  };
}

function find(maps: Map<string, SourceMap | null>, module: string, line: number, column: number): string | null {
  const path = module.startsWith("file:") ? fileURLToPath(module) : module;
  const map = maps.has(path) ? maps.get(path) : readMap(path);
  maps.set(path, map ?? null);
  const origin = map?.findOrigin(line, column);
  if (!origin || !("fileName" in origin)) return null;
  return `${resolve(dirname(path), origin.fileName)}:${origin.lineNumber}:${origin.columnNumber}`;
}

function readMap(path: string): SourceMap | null {
  const file = `${path}.map`;
  if (!path.endsWith(".js") || !existsSync(file)) return null;
  try {
    return new SourceMap(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return null; // the stack is readable without it
  }
}
