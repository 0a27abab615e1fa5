interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

/** Returns to what a file belongs: a part of `src`, a package, or Node.js. */
function ownerOf(url: string): string {
  const installed = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (installed) return installed;
  const own = /\/(src\/[^/]+)/.exec(url)?.[1];
  return own ?? (url.startsWith("node:") ? "Node.js" : "(the engine itself)");
}

/**
 * Formats a profile of Node.js as Markdown: packages and functions by their own time, without the first `skipMs` of the
 * process.
 */
export function formatProfile(text: string, skipMs: number): string {
  const { nodes, samples, timeDeltas } = JSON.parse(text) as CpuProfile; // as Node.js writes it
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const owners = new Map<string, number>();
  const functions = new Map<string, number>();
  let total = 0;
  let elapsed = 0;
  const add = (map: Map<string, number>, key: string, time: number) => map.set(key, (map.get(key) ?? 0) + time);
  for (const [index, sample] of samples.entries()) {
    const frame = frames.get(sample);
    const time = timeDeltas[index] ?? 0;
    elapsed += time;
    if (elapsed < skipMs * 1000 || !frame || frame.functionName === "(idle)" || frame.functionName === "(root)")
      continue;
    total += time;
    const where = frame.functionName.startsWith("(") && frame.url === "" ? frame.functionName : ownerOf(frame.url);
    add(owners, where, time);
    add(functions, `\`${frame.functionName || "(anonymous)"}\` | ${where}`, time);
  }
  const top = (map: Map<string, number>, count: number) =>
    [...map]
      .sort(([, a], [, b]) => b - a)
      .slice(0, count)
      .map(([key, time]) => `| ${key} | ${((100 * time) / total).toFixed(1)} % |`);
  return [
    "| where | own time |\n| --- | --- |",
    ...top(owners, 12),
    "\n| function | where | own time |\n| --- | --- | --- |",
    ...top(functions, 15),
  ].join("\n");
}
