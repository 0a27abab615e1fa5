import { ReportFault } from "./report.ts";

/** What a runner wrote, in pieces of any size. */
export type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

const longestLine = 64 * 1024;

/** Returns the pieces as text; bytes that are no UTF-8 become U+FFFD. Throws ReportFault above the limit in bytes. */
export async function* texts(chunks: Chunks, limit: number): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.byteLength;
    if (size > limit) throw new ReportFault("unreadable", `The result is larger than ${limit / 1024 / 1024} MiB.`);
    yield decoder.decode(chunk, { stream: true });
  }
  yield decoder.decode();
}

/** Calls back with each line, without its end and cut to 64 KiB. */
export async function eachLine(pieces: AsyncIterable<string>, read: (line: string) => void): Promise<void> {
  let rest = "";
  for await (const piece of pieces) {
    let from = 0;
    for (let end = piece.indexOf("\n"); end >= 0; end = piece.indexOf("\n", from)) {
      const line = rest + piece.slice(from, from + Math.min(end - from, longestLine));
      read(line.replace(/\r$/, "").slice(0, longestLine));
      rest = "";
      from = end + 1;
    }
    if (rest.length < longestLine) rest += piece.slice(from, from + longestLine);
  }
  if (rest !== "") read(rest.slice(0, longestLine));
}
