// Starts the sensor of pages as a server does, and reads its events.
import assert from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";

test("a page is reported when it has another content than before", async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), "examples-"));
  t.after(() => rmSync(scratch, { recursive: true }));
  let content = "one";
  const server = createServer((_request, response) => response.end(content)).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const url = `http://127.0.0.1:${server.address().port}/`;
  const file = join(scratch, "triggers.json");
  writeFileSync(file, JSON.stringify([{ trigger_params: { url, interval: 0.05 } }]));
  const sensor = spawn(process.execPath, ["sensors/http.mjs"], {
    env: { ...process.env, ATTUNE_SENSOR_TRIGGERS_FILE: file },
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => sensor.kill("SIGKILL"));
  const lines = createInterface({ input: sensor.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value);
  const first = await next();
  assert.equal(first.trigger, "examples.page_changed");
  assert.equal(first.payload.url, url);
  assert.equal(first.payload.status, 200);
  assert.match(first.dedup, /^[0-9a-f]{64}$/);
  content = "two";
  const second = await next();
  assert.notEqual(second.payload.sha256, first.payload.sha256);
});
