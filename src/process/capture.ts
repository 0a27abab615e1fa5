import { StringDecoder } from "node:string_decoder";

/** How much of stdout and of stderr is kept, in bytes of UTF-8. */
const outputLimit = 10 * 1024 * 1024;
const truncationMarker = "[output truncated: the limit of 10 MiB was reached]\n";
/** Text is emitted at least this often, in milliseconds, and in pieces of about this many characters. */
const flushMs = 100;
const flushLength = 64 * 1024;

/**
 * Decodes one pipe's bytes and passes the text to `emit` in few, bounded pieces: at once after 100 ms of silence, else every 100 ms or
 * 64 Ki characters. After 10 MiB (as UTF-8) it emits a marker once and drops the rest; `keep` gets the same text without the marker.
 * Invalid UTF-8 and NUL become U+FFFD. `end` emits the rest; `received` counts all bytes, including dropped ones.
 */
export function createCapture(emit: (text: string) => void, keep: (text: string) => void = () => {}) {
  const decoder = new StringDecoder("utf8");
  let pending = "";
  let room = outputLimit;
  let received = 0;
  let truncated = false;
  let lastFlush = Number.NEGATIVE_INFINITY;
  let lineOpen = false;
  let timer: NodeJS.Timeout | null = null;

  function flush() {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (pending === "") return;
    const text = pending;
    pending = "";
    lastFlush = performance.now();
    lineOpen = !text.endsWith("\n");
    keep(text);
    emit(text);
  }
  function take(raw: string) {
    const text = raw.replaceAll("\0", "\ufffd");
    const size = Buffer.byteLength(text);
    if (size > room) return truncate(text);
    room -= size;
    pending += text;
    const wait = lastFlush + flushMs - performance.now();
    if (wait <= 0 || pending.length >= flushLength) flush();
    else timer ??= setTimeout(flush, wait);
  }
  function truncate(text: string) {
    truncated = true;
    pending += text.slice(0, new TextEncoder().encodeInto(text, new Uint8Array(room)).read);
    flush();
    emit(lineOpen ? `\n${truncationMarker}` : truncationMarker);
  }
  return {
    flush,
    write(chunk: Buffer) {
      received += chunk.length;
      if (!truncated) take(decoder.write(chunk));
      release(chunk);
    },
    end() {
      if (!truncated) take(decoder.end());
      flush();
    },
    received: () => received,
    truncated: () => truncated,
  };
}

/** Stores the text of a capture in one growing buffer: a list of many small strings would need a multiple of their length. */
export function createStore() {
  let memory = new ArrayBuffer(0);
  let length = 0;
  return {
    append(text: string) {
      const needed = length + Buffer.byteLength(text);
      if (needed > memory.byteLength) {
        memory = memory.transfer(Math.max(needed, Math.min(outputLimit, memory.byteLength * 2)));
      }
      length += Buffer.from(memory).write(text, length);
    },
    /** Returns the whole text and frees the buffer. */
    take() {
      const text = Buffer.from(memory, 0, length).toString();
      memory = memory.transfer(0);
      return text;
    },
  };
}

/** Frees a chunk's memory at once: the garbage collector lets more than 64 MiB of read buffers accumulate. */
function release(chunk: Buffer): void {
  const memory = chunk.buffer;
  if (memory instanceof ArrayBuffer && memory.byteLength === chunk.length) memory.transfer(0);
}
