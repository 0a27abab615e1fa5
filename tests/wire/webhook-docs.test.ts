import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningServer, request, startInProcess } from "../support/server.ts";

const page = readFileSync("docs/webhooks.md", "utf8");
const blocks = [...page.matchAll(/^```(\w+) ?(.*)\n([\s\S]*?)^```$/gm)].map(
  ([, language = "", info = "", text = ""]) => ({
    language,
    info,
    text,
  }),
);
let server: RunningServer;
let path = "";

beforeAll(async () => {
  server = await startInProcess();
  await request(server, `mutation { createTrigger(input: {ref: "default.payments"}) { __typename } }`);
});
afterAll(() => server[Symbol.asyncDispose]());

/** Runs a mutation of the page, and keeps the path that it returns. */
async function run(document: string): Promise<Record<string, { path?: string }>> {
  const data = await request<Record<string, { path?: string; message?: string }>>(server, document);
  for (const result of Object.values(data)) expect(result).not.toHaveProperty("message");
  path = Object.values(data).find((each) => each.path)?.path ?? path;
  return data;
}

async function shell(text: string): Promise<string> {
  const env = { PATH: process.env["PATH"] ?? "", url: server.url, path };
  return (await promisify(execFile)("sh", ["-e", "-c", text], { env })).stdout;
}

test("every example of docs/webhooks.md runs, in its order, and shows what it prints", async () => {
  let printed = "";
  for (const { language, info, text } of blocks) {
    if (language === "graphql") await run(text);
    else if (language === "sh") printed = await shell(text);
    else expect([info, printed.replace(/RXZlbnQ6[^"]+/g, "RXZlbnQ6MQ==").trim()]).toEqual([info, text.trim()]);
  }
  expect(blocks.length).toBeGreaterThan(3);
});
