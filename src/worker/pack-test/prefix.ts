import type { SuiteHost } from "./suite.ts";

/** Returns a receiver that puts the suite's name before each line: several write at once. */
export function prefixed(
  onOutput: (stream: "stdout" | "stderr" | "system", text: string) => void,
): SuiteHost["onOutput"] {
  const open = new Map<string, string>();
  return (suite, stream, text) => {
    const lines = `${open.get(`${suite} ${stream}`) ?? ""}${text}`.split("\n");
    const rest = lines.pop() ?? "";
    const isLong = rest.length > longestLine;
    open.set(`${suite} ${stream}`, isLong ? "" : rest);
    if (isLong) lines.push(rest);
    if (lines.length > 0) onOutput(stream, lines.map((line) => `${suite} | ${line}\n`).join(""));
  };
}

const longestLine = 16 * 1024;
