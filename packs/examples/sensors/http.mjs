// Reads the pages that rules name, and emits an event when one has another content than before.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const rules = JSON.parse(readFileSync(process.env.ATTUNE_SENSOR_TRIGGERS_FILE, "utf8"));
/** The shortest interval that a rule wants for each page. */
const pages = new Map();
for (const { trigger_params } of rules) {
  const { url, interval = 60 } = trigger_params;
  pages.set(url, Math.min(interval, pages.get(url) ?? interval));
}

async function read(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(30_000) });
  const sha256 = createHash("sha256")
    .update(Buffer.from(await response.arrayBuffer()))
    .digest("hex");
  return { url, status: response.status, sha256 };
}

async function watch(url, interval) {
  let last = null;
  for (;;) {
    try {
      const payload = await read(url);
      const content = `${payload.status} ${payload.sha256}`;
      if (content !== last) {
        // The first content after a start may have been emitted before: then it is not stored a second time.
        const name = createHash("sha256").update(`${url} ${content}`).digest("hex");
        const dedup = last === null ? { dedup: name } : {};
        process.stdout.write(`${JSON.stringify({ trigger: "examples.page_changed", payload, ...dedup })}\n`);
      }
      last = content;
    } catch (error) {
      process.stderr.write(`${url}: ${error.cause?.message ?? error.message}\n`);
    }
    await sleep(interval * 1000);
  }
}

for (const [url, interval] of pages) void watch(url, interval);
