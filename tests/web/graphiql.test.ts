import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLink, type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const executablePath = "/usr/bin/chromium";
const missing = !existsSync(executablePath);
if (missing) console.warn(`${executablePath} is not there: GraphiQL is not tested in a browser`);

const switches = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// Needs Debian's Chromium.
describe.skipIf(missing)("GraphiQL in Chromium", () => {
  let server: RunningServer;
  let browser: Browser;
  let page: Page;
  /** Every address that the page requested, sockets included. */
  const requested: string[] = [];
  const pageErrors: string[] = [];

  beforeAll(async () => {
    [server, browser] = await Promise.all([startInProcess(), chromium.launch({ executablePath, args: switches })]);
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    page = await context.newPage();
    page.on("request", (sent) => requested.push(sent.url()));
    page.on("websocket", (socket) => requested.push(socket.url()));
    page.on("pageerror", (error) => pageErrors.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") pageErrors.push(message.text());
    });
  }, 120_000); // a browser and a server, started on a busy machine

  afterAll(async () => {
    await browser?.close();
    await server?.[Symbol.asyncDispose]();
  });

  const runOperation = () => page.locator(".graphiql-execute-button").click();
  /** The result below the operation. GraphiQL reads an operation's name a moment after its text; run earlier, it shows an error. */
  const response = async () => {
    const text = await page.locator(".result-window").textContent();
    if (text && /Cannot\sinfer\soperation/.test(text)) await runOperation();
    return text;
  };
  /** Opens a tab and waits until the editor shows its operation, so that this operation is run. */
  const openTab = async (name: string) => {
    await page.getByRole("tab").getByTitle(name, { exact: true }).click();
    const editor = page.locator(".graphiql-query-editor");
    await until(
      async () => new RegExp(`\\b${name}\\b`).test((await editor.innerText()) ?? ""),
      `the operation ${name}`,
    );
  };

  test("the sign-in link leads to GraphiQL, with five operations ready", async () => {
    await page.goto(`${server.url}${await createLink(server)}`);
    await page.waitForURL(`${server.url}/graphql`);
    await page.waitForSelector(".graphiql-query-editor .view-line");
    const tabs = await page.getByRole("tab").allInnerTexts();
    expect(tabs).toEqual(["Packs", "ExecuteAction", "ExecutionStatus", "CreateRule", "Executions"]);
  });

  test("a query shows its data", async () => {
    await openTab("Packs");
    await runOperation();
    await until(async () => (await response())?.includes("core.echo"), "the packs");
  });

  test("a subscription shows a message when an action runs", async () => {
    await openTab("ExecutionStatus");
    await runOperation();
    const shown = await until(async () => {
      // Repeatedly: the page does not show when the subscription is open.
      await request(server, `mutation { executeAction(input: {action: "core.noop"}) { __typename } }`);
      const text = await response();
      return text?.includes("executionStatus") && text;
    }, "a message");
    expect(shown).toContain("core.noop");
    await page.screenshot({ path: join(mkdtempSync(join(tmpdir(), "attune-web-")), "graphiql.png") });
  });

  test("as the README says: a subscription in one window shows what the other window executes", async () => {
    await openTab("Packs"); // ends the subscription of the test before
    await openTab("ExecutionStatus");
    await runOperation();
    const second = await page.context().newPage();
    await second.goto(`${server.url}/graphql`);
    await second.getByRole("tab").getByTitle("ExecuteAction", { exact: true }).click();
    const editor = second.locator(".graphiql-query-editor");
    await until(async () => /\bExecuteAction\b/.test(await editor.innerText()), "the mutation");
    const shown = await until(async () => {
      // Repeatedly: the first window does not show when its subscription is open, nor the second one when it knows the operation.
      await second.locator(".graphiql-execute-button").click();
      const text = await response();
      return text?.includes("core.echo") && text;
    }, "a transition of core.echo");
    expect(shown).toContain("executionStatus");
    await until(
      async () => /ExecuteActionPayload/.test((await second.locator(".result-window").textContent()) ?? ""),
      "the response",
    );
    await second.close();
  });

  test("the start page leads to the sign-in page, which says who is signed in, signs out, and signs in by password or another link", async () => {
    const status = page.getByRole("status");
    const says = (text: string) => until(async () => (await status.textContent()) === text, text);
    await page.goto(`${server.url}/sign-in`);
    await says("You are signed in as admin.");
    await page.getByRole("button", { name: "Sign out" }).click();
    await says("You are signed out.");

    const stranger = await browser.newContext();
    const other = await stranger.newPage();
    await other.goto(`${server.url}/`);
    expect(new URL(other.url()).pathname).toBe("/sign-in");
    await stranger.close();

    await request(
      server,
      `mutation { setPassword(input: {login: "admin", password: "a long password"}) { __typename } }`,
    );
    await page.getByLabel("Login").fill("admin");
    await page.getByLabel("Password").fill("wrong password");
    await page.getByRole("button", { name: "Sign in" }).click();
    await until(async () => /login|password/i.test((await status.textContent()) ?? ""), "the refusal");
    await page.screenshot({ path: join(mkdtempSync(join(tmpdir(), "attune-web-")), "sign-in.png") });
    await page.getByLabel("Password").fill("a long password");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(`${server.url}/graphql`);

    await page.goto(`${server.url}/sign-in`);
    await says("You are signed in as admin.");
    const used = await createLink(server);
    await page.evaluate((hash) => {
      location.hash = hash;
    }, "att_signin_guessed");
    await until(async () => (await status.textContent())?.includes("used, expired or unknown"), "the refused link");
    await page.evaluate((hash) => {
      location.hash = hash;
    }, used.split("#")[1] ?? "");
    await page.waitForURL(`${server.url}/graphql`);
    pageErrors.splice(0, pageErrors.length, ...pageErrors.filter((error) => !error.includes("401"))); // of the refused link
  });

  test("a reload keeps the tabs, adds none, and stores no headers", async () => {
    await openTab("ExecuteAction");
    const tabs = () => page.getByRole("tab").allInnerTexts();
    const before = await tabs();
    await page.getByRole("button", { name: "Headers" }).click();
    const headers = page.locator(".graphiql-editor-tool .graphiql-editor:not(.hidden)");
    await headers.click();
    await page.keyboard.type('{"x-secret": "s3cret"}');
    for (let round = 0; round < 2; round += 1) {
      await page.reload();
      await page.waitForSelector(".graphiql-query-editor .view-line");
      expect(await tabs()).toEqual(before);
    }
    const editor = page.locator(".graphiql-query-editor");
    await until(async () => /ExecuteAction/.test(await editor.innerText()), "the operation of the tab that was open");
    expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain("s3cret");
  });

  test("the page is sent compressed, and again only when it has changed", async () => {
    const get = (headers: Record<string, string>) =>
      fetch(`${server.url}/graphql`, { headers: { accept: "text/html", ...headers } });
    const whole = await (await get({ "accept-encoding": "identity" })).text();
    const sizes: number[] = [];
    for (const encoding of ["br", "gzip"]) {
      const response = await get({ "accept-encoding": encoding });
      expect(response.headers.get("content-encoding")).toBe(encoding);
      sizes.push(Number(response.headers.get("content-length")));
      expect((await response.text()) === whole).toBe(true); // fetch decompresses it
      const etag = response.headers.get("etag") ?? "";
      const again = await get({ "accept-encoding": encoding, "if-none-match": etag });
      expect([again.status, (await again.text()).length]).toEqual([304, 0]);
    }
    expect(Math.max(...sizes)).toBeLessThan(whole.length / 3);
    expect(Math.min(...sizes)).toBeGreaterThan(0);
  });

  test("the page requested nothing from other hosts and logged no errors", () => {
    const { host } = new URL(server.url);
    expect(requested.filter((url) => !/^(data|blob):/.test(url) && new URL(url).host !== host)).toEqual([]);
    expect(requested).toContain(`${server.url.replace("http", "ws")}/graphql`);
    expect(pageErrors).toEqual([]);
  });
});
