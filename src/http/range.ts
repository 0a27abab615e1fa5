import type { IncomingHttpHeaders } from "node:http";

/** From the first byte wanted to before the last. */
export interface ByteRange {
  start: number;
  end: number;
}

/** Whether one of the entity tags that the client has (RFC 9110, 13.1.2) is this one. */
export function isCurrent(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch.split(",").some((given) => given.trim() === "*" || given.trim().replace(/^W\//, "") === etag);
}

/**
 * What a request asks for of so many bytes (RFC 9110, 14.2): one range; null for everything, as which several ranges, a unit
 * other than bytes, and a range of another content (`If-Range`) count.
 */
export function chooseRange(
  headers: IncomingHttpHeaders,
  { size, etag }: { size: number; etag: string },
): ByteRange | "unsatisfiable" | null {
  const { range, "if-range": condition } = headers;
  if (range === undefined || (condition !== undefined && condition !== etag)) return null;
  const [, first = "", last = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(range.trim()) ?? [];
  if (first === "" && last === "") return null;
  if (first === "") return lastBytes(Number(last), size);
  const start = Number(first);
  const end = last === "" ? size : Math.min(Number(last) + 1, size);
  if (last !== "" && Number(last) < start) return null; // not a range at all
  return start < size ? { start, end } : "unsatisfiable";
}

function lastBytes(count: number, size: number): ByteRange | "unsatisfiable" {
  return count > 0 && size > 0 ? { start: Math.max(0, size - count), end: size } : "unsatisfiable";
}
