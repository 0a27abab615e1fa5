import { StringDecoder } from "node:string_decoder";

/** The longest line that can hold an event, in characters; its payload has a limit of its own. */
const longestLine = 1024 * 1024 + 64 * 1024;

/** A line that a sensor wrote, with its number from 1; null: it was too long, and its text was dropped. */
export interface Line {
  number: number;
  text: string | null;
}

/** Splits a stream into lines, without their ends. The stream is read no faster than the lines are taken; a chunk's lines come together. */
export async function* readLines(stream: AsyncIterable<Buffer>): AsyncGenerator<Line[], void> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  let isTooLong = false;
  let number = 0;
  const split = (text: string): Line[] => {
    const parts = `${rest}${text}`.split("\n");
    rest = parts.pop() ?? "";
    const lines = parts.map((part) => {
      number += 1;
      const line = { number, text: isTooLong || part.length > longestLine ? null : part };
      isTooLong = false;
      return line;
    });
    if (rest.length > longestLine) {
      isTooLong = true;
      rest = "";
    }
    return lines;
  };
  for await (const chunk of stream) {
    const lines = split(decoder.write(chunk));
    if (lines.length > 0) yield lines;
  }
  const last = `${decoder.end()}`;
  if (rest !== "" || last !== "" || isTooLong) yield split(`${last}\n`);
}
