import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../support/cli.ts";
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
  for (const ref of ["default.payments", "default.orders"]) {
    await request(server, `mutation { createTrigger(input: {ref: "${ref}"}) { __typename } }`);
  }
});
afterAll(() => server[Symbol.asyncDispose]());

/** Runs a mutation of the page, and keeps the path that it returns. */
async function run(document: string): Promise<Record<string, { path?: string }>> {
  const data = await request<Record<string, { path?: string; message?: string }>>(server, document);
  for (const result of Object.values(data)) expect(result).not.toHaveProperty("message");
  path = Object.values(data).find((each) => each.path)?.path ?? path;
  return data;
}

/** Runs the command lines of a block, each by itself. */
async function commands(text: string): Promise<string> {
  let printed = "";
  for (const line of text.trim().split("\n")) {
    const { code, stdout, stderr } = await runCommand(line.split(" ").slice(1), { server });
    expect([line, code, stderr]).toEqual([line, 0, expect.any(String)]);
    printed = stdout;
  }
  return printed;
}

async function shell(text: string): Promise<string> {
  const env = { PATH: process.env["PATH"] ?? "", url: server.url, path };
  return (await promisify(execFile)("sh", ["-e", "-c", text], { env })).stdout;
}

test("every example of docs/webhooks.md runs, in its order, and shows what it prints", async () => {
  let printed = "";
  for (const { language, info, text } of blocks) {
    if (language === "graphql") await run(text);
    else if (info === "cli") printed = await commands(text);
    else if (language === "sh") printed = await shell(text);
    else expect([info, printed.replace(/RXZlbnQ6[^"]+/g, "RXZlbnQ6MQ==").trim()]).toEqual([info, text.trim()]);
  }
  expect(blocks.length).toBeGreaterThan(3);
});
